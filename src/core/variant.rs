//! A variant: a named version under a route, the role it plays, and the backend that serves it.

use super::{
    name::{Artefact, VariantName},
    split::Weight,
};
use http::HeaderValue;
use std::{fmt, time::Duration};

/// The role a variant plays on its route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// What everybody gets when nothing is being released. Exactly one a route.
    Stable,
    /// The candidate of a release. At most one a route.
    Canary,
    /// The stable of before the promotion, kept as a control while the release is watched.
    Previous,
    /// A canary that was rolled back; its weight is 0 and only a human commit brings it back.
    Rejected,
    /// Gets copies of requests, never answers anybody.
    Shadow,
}

impl Role {
    /// The word the routes file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Previous => "previous",
            Self::Rejected => "rejected",
            Self::Shadow => "shadow",
        }
    }
}

/// Where a backend listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// Over the network; a name may stand for several machines.
    Tcp {
        /// Host name or IP address, without brackets.
        host: Box<str>,
        /// TCP port.
        port: u16,
    },
    /// A Unix socket at this absolute path: a sidecar on the same machine.
    Unix(Box<str>),
}

/// What is spoken on a connection to a backend.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Wire {
    /// HTTP/1.1 in the clear: `http://`.
    Http1,
    /// HTTP/2 in the clear, by prior knowledge (RFC 9113, 3.3): `h2c://`.
    Http2,
    /// TLS, and in it what ALPN picks: `https://`.
    Tls {
        /// The name asked for and checked instead of the address's host.
        server_name: Option<Box<str>>,
    },
}

/// How it is asked whether a backend takes requests.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Readiness {
    /// Asked for with `GET`; a status of the 200s means ready.
    pub path: Box<str>,
    /// From one check to the next. Default 5 s.
    pub every: Duration,
    /// Longest time for one check. Default 2 s.
    pub timeout: Duration,
}

/// An address we can send to, and how. Equal backends share connections, addresses and health.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: Address,
    /// What it speaks.
    pub wire: Wire,
    /// How its readiness is asked for; `None`: it counts as ready.
    pub readiness: Option<Readiness>,
}

impl Backend {
    /// `host:port`, with brackets around an IPv6 address; `localhost` for a Unix socket, which has no name of its own.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The name that its certificate must carry; `None` without TLS. A host's trailing dot is for the resolver only.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match (&self.wire, &self.address) {
            (Wire::Http1 | Wire::Http2, _) => None,
            (Wire::Tls { server_name: Some(name) }, _) => Some(name),
            (Wire::Tls { server_name: None }, Address::Tcp { host, .. }) => {
                Some(host.strip_suffix('.').unwrap_or(host))
            }
            (Wire::Tls { server_name: None }, Address::Unix(_)) => Some("localhost"),
        }
    }
}

impl fmt::Display for Backend {
    /// As the routes file writes it: `http://host:port`, `h2c+unix:/path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, &self.wire) {
            (Address::Tcp { .. }, Wire::Http1) => write!(f, "http://{}", self.authority()),
            (Address::Tcp { .. }, Wire::Http2) => write!(f, "h2c://{}", self.authority()),
            (Address::Tcp { .. }, Wire::Tls { .. }) => write!(f, "https://{}", self.authority()),
            (Address::Unix(path), Wire::Http1) => write!(f, "unix:{path}"),
            (Address::Unix(path), Wire::Http2) => write!(f, "h2c+unix:{path}"),
            (Address::Unix(path), Wire::Tls { .. }) => write!(f, "https+unix:{path}"),
        }
    }
}

/// What the file says about the model behind a variant; for people and for the artefact's identity.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModelRef {
    /// Version as the registry counts it.
    pub version: Option<Box<str>>,
    /// Where it is stored.
    pub uri: Option<Box<str>>,
    /// Content digest.
    pub digest: Option<Box<str>>,
}

/// A named version under a route.
#[derive(Clone, PartialEq, Debug)]
pub struct Variant {
    /// Its name, unique in the route.
    pub name: VariantName,
    /// The same as a header's value, made once: every answer carries it.
    pub label: HeaderValue,
    /// The role it plays.
    pub role: Role,
    /// The weight the file says.
    pub said: Weight,
    /// The weight after clamps: what traffic really gets.
    pub effective: Weight,
    /// Where it is served.
    pub backend: Backend,
    /// What it serves.
    pub artefact: Artefact,
    /// What the file says about its model.
    pub model: ModelRef,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_written_as_its_url() {
        let check = |address: &Address, wire: Wire, url: &str, authority: &str, server_name: Option<&str>| {
            let backend = Backend { address: address.clone(), wire, readiness: None };
            assert_eq!(backend.to_string(), url);
            assert_eq!(backend.authority(), authority, "{url}");
            assert_eq!(backend.server_name(), server_name, "{url}");
        };
        let named = Address::Tcp { host: "models.svc.".into(), port: 80 };
        let six = Address::Tcp { host: "::1".into(), port: 8080 };
        let socket = Address::Unix("/run/model.sock".into());
        let tls = |name: Option<&str>| Wire::Tls { server_name: name.map(Into::into) };
        check(&named, Wire::Http1, "http://models.svc.:80", "models.svc.:80", None);
        check(&named, tls(None), "https://models.svc.:80", "models.svc.:80", Some("models.svc"));
        check(&named, tls(Some("other")), "https://models.svc.:80", "models.svc.:80", Some("other"));
        check(&six, Wire::Http2, "h2c://[::1]:8080", "[::1]:8080", None);
        check(&socket, Wire::Http1, "unix:/run/model.sock", "localhost", None);
        check(&socket, Wire::Http2, "h2c+unix:/run/model.sock", "localhost", None);
        check(&socket, tls(None), "https+unix:/run/model.sock", "localhost", Some("localhost"));
    }

    #[test]
    fn roles_are_written_as_in_the_file() {
        let roles = [Role::Stable, Role::Canary, Role::Previous, Role::Rejected, Role::Shadow];
        assert_eq!(roles.map(Role::as_str), ["stable", "canary", "previous", "rejected", "shadow"]);
    }
}
