//! A variant: a named version under a route, the role it plays, and the backend that serves it.

use super::{
    name::{Artefact, VariantName},
    split::Weight,
};

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

/// An address we can send to. Plain HTTP only, so far; TLS comes with the protocols that need it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Backend {
    /// Host name or IP address, without brackets.
    pub host: Box<str>,
    /// TCP port.
    pub port: u16,
}

impl Backend {
    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
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
