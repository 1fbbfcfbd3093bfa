//! How nginx, HAProxy and Coalmine are told to do the same job, each tuned as its own people would.

use super::{proxies::Site, work::Work};

pub(super) fn nginx(site: &Site<'_>) -> String {
    let Site { dir, work, port, stable, canary, .. } = site;
    let listen = if work.tls() {
        let dir = dir.display();
        format!(
            "listen 127.0.0.1:{port} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.3;"
        )
    } else if work.h2() {
        format!("listen 127.0.0.1:{port} http2;")
    } else {
        format!("listen 127.0.0.1:{port};")
    };
    let pass = if work.grpc() {
        "grpc_pass grpc://$model;"
    } else {
        "proxy_pass http://$model; proxy_http_version 1.1; proxy_set_header Connection \"\";"
    };
    let tuned = match work {
        Work::Mib => "client_max_body_size 0; proxy_request_buffering off; client_body_buffer_size 256k;",
        Work::Events => "proxy_buffering off;",
        _ => "",
    };
    // Without these `keepalive_requests`, connections would end after 1,000 requests; over HTTP/2 with a GOAWAY.
    let server = |port: &u16| format!("server 127.0.0.1:{port}; keepalive 256; keepalive_requests 1000000000;");
    let home = dir.join("nginx");
    format!(
        "daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {0}/pid; error_log stderr warn;\n\
         events {{ worker_connections 19000; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; client_body_temp_path {0}/b;\n\
         proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         upstream stable {{ {1} }}\nupstream canary {{ {2} }}\nsplit_clients $request_id $model {{ 10% canary; * stable; }}\n\
         server {{ {listen} location / {{ {pass} {tuned} }} }} }}\n",
        home.display(),
        server(stable),
        server(canary)
    )
}

pub(super) fn haproxy(site: &Site<'_>) -> String {
    let Site { dir, work, port, stable, canary, .. } = site;
    let bind = if work.tls() {
        format!("ssl crt {}/both.pem ssl-min-ver TLSv1.3 alpn http/1.1", dir.display())
    } else if work.h2() {
        "proto h2".to_owned()
    } else {
        String::new()
    };
    let to = if work.grpc() { "proto h2" } else { "" };
    let tuned = if matches!(work, Work::Events | Work::GrpcStream) { "option http-no-delay" } else { "" };
    format!(
        "global\n  nbthread 1\n  maxconn 10500\n  no strict-limits\ndefaults\n  mode http\n  option abortonclose\n  {tuned}\n  http-reuse always\n  \
         timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n  timeout http-keep-alive 300s\n\
         frontend callers\n  maxconn 19000\n  bind 127.0.0.1:{port} {bind}\n  default_backend models\n\
         backend models\n  balance roundrobin\n  server stable 127.0.0.1:{stable} weight 90 {to}\n  \
         server canary 127.0.0.1:{canary} weight 10 {to}\n"
    )
}

/// The routes and the settings: split, sticky key, tallies, ticket and metrics, all on.
pub(super) fn coalmine(site: &Site<'_>) -> [String; 2] {
    let Site { dir, work, port, admin, stable, canary, .. } = site;
    let protocol = if *work == Work::Events { "openai" } else { "v2" };
    let scheme = if work.grpc() { "h2c" } else { "http" };
    let routes = format!(
        "apiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n  - name: digits\n    match: {{ path: / }}\n    \
         protocol: {protocol}\n    sticky: {{ header: x-user }}\n    variants:\n      \
         - {{ name: v1, role: stable, weight: 90, url: '{scheme}://127.0.0.1:{stable}' }}\n      \
         - {{ name: v2, role: canary, weight: 10, url: '{scheme}://127.0.0.1:{canary}' }}\n"
    );
    let tls = if work.tls() {
        format!("tls: {{ certificates: [ {{ cert_file: {0}/cert.pem, key_file: {0}/key.pem }} ] }}\n", dir.display())
    } else {
        String::new()
    };
    let settings = format!(
        "threads: 1\nlisten: 127.0.0.1:{port}\nadmin: 127.0.0.1:{admin}\nlog: {{ level: error }}\n\
         connections: {{ max: 19000, header_read: 300s }}\ndrain: {{ lame_duck: 0s, limit: 1s }}\n{tls}"
    );
    [routes, settings]
}
