//! Whom the guardrails of routes are asked from. The token is a file, never a value here.

use super::{notify, path_of, positive};
use crate::config::fields::Field;
use std::{path::PathBuf, time::Duration};

/// Asked no more often than this.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Whom to ask, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrometheusSettings {
    /// What comes before `/api/v1/query`.
    pub url: String,
    /// The bearer token.
    pub token_file: Option<PathBuf>,
    /// Who vouches for the server instead of the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// How often it is asked. Default 10 s.
    pub every: Duration,
    /// Longest time of one query. Default 5 s.
    pub timeout: Duration,
}

pub(super) fn read(field: &Field<'_>) -> Option<PrometheusSettings> {
    let map = field.map()?;
    let url = map.need("url", "such as http://prometheus.monitoring.svc:9090").and_then(|url| {
        let text = url.parse(notify::url)?;
        if text.contains(['?', '#']) {
            url.wrong("the url has a query or a fragment", "write what comes before `/api/v1/query`");
        }
        Some((text, url))
    });
    let token_file = path_of(&map, "token_file");
    let pause = |text: &str| match positive(text)? {
        often if often < EVERY_MIN => Err(format!("`{text}` is too often; wait at least {EVERY_MIN:?}")),
        some => Ok(some),
    };
    let (every, timeout) =
        (map.or("every", Duration::from_secs(10), pause), map.or("timeout", Duration::from_secs(5), positive));
    let ca_file = path_of(&map, "ca_file");
    map.done();
    let (url, place) = url?;
    if token_file.is_some() && url.starts_with("http://") && !is_here(&url) {
        place.wrong("the token would be sent in the clear", "write https://, or leave out `token_file`");
    }
    Some(PrometheusSettings { url, token_file, ca_file, every, timeout })
}

/// Whether it does not leave the machine.
fn is_here(url: &str) -> bool {
    let host = url.parse::<http::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::config::settings::Settings;

    #[test]
    fn a_server_is_read_and_a_token_is_never_sent_in_the_clear() {
        let read = |text: &str| {
            Settings::read(&format!("prometheus: {text}"), &[]).map(|settings| settings.prometheus).map_err(|told| {
                told.iter().map(|problem| format!("{}: {}", problem.path, problem.what)).collect::<Vec<_>>()
            })
        };
        let server = read("{ url: 'https://m.example/p', token_file: /s/t }").unwrap().unwrap();
        assert_eq!((server.every.as_secs(), server.timeout.as_secs()), (10, 5));
        assert!(read("{ url: 'http://127.0.0.1:9090', token_file: /s/t }").is_ok());
        assert!(read("{ url: 'http://m.example' }").is_ok());
        for (text, part) in [
            ("{ url: 'http://m.example', token_file: /s/t }", "prometheus.url: the token would be sent in the clear"),
            ("{ url: 'http://me:pw@m.example' }", "prometheus.url: a user or a password stands in the url"),
            ("{ url: 'http://m.example/?x=1' }", "prometheus.url: the url has a query"),
            ("{ url: 'http://m.example', every: 1ms }", "prometheus.every: `1ms` is too often"),
            ("{ token_file: /s/t }", "prometheus: `url` is missing"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.iter().any(|line| line.starts_with(part)), "{part}: {told:?}");
        }
    }
}
