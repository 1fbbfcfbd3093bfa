//! The way through an HTTP proxy, as `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` of the environment say it, in curl's
//! sense of them: a tunnel by CONNECT for TLS, the whole URL for plain requests.

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header, uri::Scheme};
use http_body_util::Empty;
use hyper_util::{
    client::proxy::matcher::{Intercept, Matcher},
    rt::TokioIo,
};
use std::{pin::pin, sync::Arc};
use tokio::net::TcpStream;

/// Which proxy is for whom.
#[derive(Clone, Debug)]
pub(super) struct Proxies(Arc<Matcher>);

/// A proxy that is for a request.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    kind: Scheme,
    /// What lets us through.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxies {
    /// As the environment says.
    pub(super) fn of_environment() -> Self {
        Self(Arc::new(Matcher::from_env()))
    }

    /// This one, for everybody.
    pub(super) fn always(url: &str) -> Self {
        Self(Arc::new(Matcher::builder().all(url).build()))
    }

    /// The one that is for this URL; `None`: there is none in between.
    pub(super) fn of(&self, url: &Uri) -> Option<Proxy> {
        let found: Intercept = self.0.intercept(url)?;
        let uri = found.uri();
        Some(Proxy {
            host: uri.host().unwrap_or("").to_owned(),
            port: uri.port_u16().unwrap_or(80),
            kind: uri.scheme().cloned().unwrap_or(Scheme::HTTP),
            authorization: found.basic_auth().cloned().map(|mut value| {
                value.set_sensitive(true);
                value
            }),
        })
    }
}

impl Proxy {
    /// A connection to it; with `target`, a `host:port`, one through it to there.
    ///
    /// # Errors
    /// In words, with its name.
    pub(super) async fn connect(&self, target: Option<&str>) -> Result<TcpStream, String> {
        let Self { host, port, kind, .. } = self;
        if *kind != Scheme::HTTP {
            return Err(format!("the proxy {kind}://{host}:{port} is none that we speak to; name one with http://"));
        }
        let reach = async {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let tcp = TcpStream::connect((bare, *port)).await.map_err(|error| error.to_string())?;
            match target {
                Some(target) => self.tunnel(tcp, target).await,
                None => Ok(tcp),
            }
        };
        reach.await.map_err(|why| format!("the proxy {host}:{port}: {why}"))
    }

    async fn tunnel(&self, tcp: TcpStream, target: &str) -> Result<TcpStream, String> {
        let text = |error: hyper::Error| error.to_string();
        let mut request = Request::connect(target).header(header::HOST, target);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(text)?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(text)?;
            match answer.status() {
                status if status.is_success() => hyper::upgrade::on(answer).await.map_err(text),
                status => Err(format!("it answers {status}")),
            }
        };
        let mut answer = pin!(answer);
        let opened = tokio::select! {
            opened = answer.as_mut() => opened?,
            // The upgrade is its end.
            _ = connection.with_upgrades() => answer.await?,
        };
        let parts = opened.downcast::<TokioIo<TcpStream>>().map_err(|_| "another connection came back".to_owned())?;
        // Whoever is behind it speaks only when spoken to.
        if parts.read_buf.is_empty() { Ok(parts.io.into_inner()) } else { Err("it speaks out of turn".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_for_those_it_is_said_to_be_for() {
        let rules =
            Matcher::builder().https("http://me:pw@p:3128").http("http://q:8080").no("inside.example,10.0.0.0/8");
        let proxies = Proxies(Arc::new(rules.build()));
        let of = |url: &str| proxies.of(&url.parse().unwrap()).map(|proxy| format!("{}:{}", proxy.host, proxy.port));
        assert_eq!(of("https://api.example/x").as_deref(), Some("p:3128"));
        assert_eq!(of("http://api.example/x").as_deref(), Some("q:8080"));
        for inside in ["https://git.inside.example/", "http://inside.example", "https://10.1.2.3:6443/"] {
            assert_eq!(of(inside), None, "{inside}");
        }
        let proxy = proxies.of(&"https://api.example".parse().unwrap()).unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic bWU6cHc=");
        assert!(!format!("{proxy:?}").contains("bWU6cHc="), "{proxy:?}");
        let always = Proxies::always("proxy.example:3128").of(&"https://10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!((always.host.as_str(), always.port, always.kind), ("proxy.example", 3128, Scheme::HTTP));
    }
}
