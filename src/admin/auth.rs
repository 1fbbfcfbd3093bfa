//! Who may do what on the admin listener: bearer tokens by role. Without any token file reading is free, and writing is
//! for callers on this machine only.

use http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;

/// What a caller may do; each may do what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Read.
    Viewer,
    /// Send labels, too.
    Labeler,
    /// Everything.
    Operator,
}

/// Digests of the tokens: comparing those tells a guesser nothing about the token.
#[derive(Clone, Default)]
pub struct Tokens {
    known: Vec<([u8; 32], Role)>,
}

impl Tokens {
    /// Adds the tokens of a file's text, one a line; empty lines do not count.
    pub fn add(&mut self, text: &SecretString, role: Role) {
        let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
        self.known.extend(lines.map(|token| (Sha256::digest(token).into(), role)));
    }

    /// Whether there are no tokens at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a request from `peer` with these headers may do what takes `role`.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap, peer: IpAddr, role: Role) -> bool {
        if self.known.is_empty() {
            return role == Role::Viewer || peer.to_canonical().is_loopback();
        }
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = value.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
        let digest: [u8; 32] = Sha256::digest(token.trim()).into();
        self.known.iter().any(|(known, granted)| *known == digest && *granted >= role)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.known.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_rise_and_tokens_are_needed_once_there_are_some() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 9]));
        let bearer =
            |token: &str| HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())]);
        let none = Tokens::default();
        assert!(none.allow(&HeaderMap::new(), there, Role::Viewer));
        assert!(!none.allow(&HeaderMap::new(), there, Role::Labeler));
        assert!(none.allow(&HeaderMap::new(), here, Role::Operator));
        let mut some = Tokens::default();
        some.add(&"lab\n\n".to_owned().into(), Role::Labeler);
        assert!(some.allow(&bearer("lab"), there, Role::Viewer));
        assert!(some.allow(&bearer("lab"), there, Role::Labeler));
        assert!(!some.allow(&bearer("lab"), here, Role::Operator));
        assert!(!some.allow(&bearer(""), here, Role::Viewer));
        assert!(!some.allow(&HeaderMap::new(), here, Role::Viewer));
    }
}
