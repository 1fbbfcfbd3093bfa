//! Envoy's bootstrap for the same job, tuned: no request ids, no x-envoy fields, no per-request statistics of the router, open circuit
//! breakers, no time limits.

use super::proxies::Site;

const TYPES: &str = "type.googleapis.com/envoy.extensions";

pub(super) fn bootstrap(site: &Site<'_>) -> String {
    let Site { work, port, stable, canary, .. } = site;
    let codec = if work.h2() { "HTTP2" } else { "HTTP1" };
    format!(
        "static_resources:
  listeners:
  - name: callers
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          codec_type: {codec}
          stat_prefix: callers
          generate_request_id: false
          stream_idle_timeout: 0s
          common_http_protocol_options: {{ idle_timeout: 300s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ '@type': {TYPES}.filters.http.router.v3.Router, suppress_envoy_headers: true, dynamic_stats: false }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: {{ prefix: / }}
                route:
                  timeout: 0s
                  weighted_clusters: {{ clusters: [ {{ name: stable, weight: 90 }}, {{ name: canary, weight: 10 }} ] }}
{}  clusters:
{}{}",
        tls(site),
        cluster(site, "stable", *stable),
        cluster(site, "canary", *canary)
    )
}

fn tls(site: &Site<'_>) -> String {
    if !site.work.tls() {
        return String::new();
    }
    let dir = site.dir.display();
    format!(
        "      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          '@type': {TYPES}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [http/1.1]
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - certificate_chain: {{ filename: {dir}/cert.pem }}
              private_key: {{ filename: {dir}/key.pem }}
"
    )
}

fn cluster(site: &Site<'_>, name: &str, port: u16) -> String {
    let options = if site.work.grpc() { "http2_protocol_options" } else { "http_protocol_options" };
    let many = "max_connections: 100000, max_pending_requests: 100000, max_requests: 100000";
    format!(
        "  - name: {name}
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [ {{ {many} }} ] }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': {TYPES}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {options}: {{}} }}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}
"
    )
}
