//! The least Pingora proxy that splits 90/10: `pingora-split PORT STABLE_PORT CANARY_PORT`.

use async_trait::async_trait;
use pingora::{
    Result,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};
use std::env;

struct Split {
    stable: String,
    canary: String,
}

#[async_trait]
impl ProxyHttp for Split {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let to = if rand::random_range(0..10) == 0 { &self.canary } else { &self.stable };
        Ok(Box::new(HttpPeer::new(to, false, String::new())))
    }
}

fn main() {
    let ports: Vec<u16> = env::args().skip(1).map(|port| port.parse().expect("a port")).collect();
    let [listen, stable, canary] = ports[..] else { panic!("usage: pingora-split PORT STABLE_PORT CANARY_PORT") };
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 256,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let split = Split { stable: format!("127.0.0.1:{stable}"), canary: format!("127.0.0.1:{canary}") };
    let mut service = http_proxy_service(&server.configuration, split);
    service.add_tcp(&format!("127.0.0.1:{listen}"));
    server.add_service(service);
    server.run_forever();
}
