//! Exactly what a routes file says, field by field: each value well-formed in itself. How they fit together is
//! `compile`'s business.

mod backend;
mod guardrail;
pub(super) mod policy;
mod route;

use super::fields::{Field, Place, Said};
use crate::core::{
    judge::Policy,
    name::{RouteName, VariantName},
    outlier,
    plan::{Plan, Rollback},
    route::{CallerLimit, Expose, FallbackPolicy, Limits, Match, Protocol, Sticky, Timeouts},
    split::Weight,
    variant::{Backend, ModelRef, Role},
};

/// The version this program reads and writes.
pub const API_VERSION: &str = "coalmine.dev/v1alpha1";

/// A routes file.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    pub(super) routes: Vec<RouteSpec>,
    pub(super) routes_place: Place,
    /// Items of `routes` that could not be read far enough to be compiled; their problems are on the list already.
    pub(super) unreadable: usize,
}

/// One route.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    pub(super) name: Said<RouteName>,
    pub(super) matches: Said<Match>,
    pub(super) variants: Vec<VariantSpec>,
    pub(super) variants_place: Place,
    /// Whether every item of `variants` could be read: sums make sense only then.
    pub(super) variants_whole: bool,
    pub(super) fallback_to: Option<Said<String>>,
    /// What the file says about this route, without how it is written.
    pub(super) canonical: String,
    pub(super) rest: Rest,
}

/// What a route says that needs nothing else to make sense.
#[derive(Clone, Debug)]
pub struct Rest {
    pub(super) protocol: Protocol,
    pub(super) sticky: Option<Sticky>,
    pub(super) pin: bool,
    pub(super) expose: Expose,
    pub(super) fallback: Option<FallbackPolicy>,
    pub(super) timeouts: Timeouts,
    pub(super) outlier: Option<outlier::Policy>,
    pub(super) limits: Limits,
    pub(super) caller_limit: Option<CallerLimit>,
    pub(super) plan: Option<PlanSpec>,
    pub(super) policy: Policy,
    pub(super) rollback: Rollback,
}

/// One variant.
#[derive(Clone, Debug)]
pub struct VariantSpec {
    pub(super) name: Said<VariantName>,
    pub(super) role: Said<Role>,
    pub(super) weight: Said<Weight>,
    /// Which part of the requests a shadow or a canary gets a copy of.
    pub(super) share: Option<Said<Weight>>,
    pub(super) backend: Backend,
    pub(super) url: String,
    pub(super) model: ModelRef,
}

/// A plan, and where its steps stand.
#[derive(Clone, Debug)]
pub struct PlanSpec {
    pub(super) plan: Plan,
    pub(super) steps: Vec<Place>,
}

impl Spec {
    pub(super) fn read(root: &Field<'_>) -> Self {
        let Some(map) = root.map() else {
            return Self::default();
        };
        let version = map.need("apiVersion", "write `apiVersion: coalmine.dev/v1alpha1`");
        version.and_then(|field| field.word(&[(API_VERSION, ())]));
        map.need("kind", "write `kind: RouteTable`").and_then(|field| field.word(&[("RouteTable", ())]));
        // Kubernetes-style metadata is welcome and means nothing here.
        let _ = map.get("metadata");
        let routes = map.need("routes", "list at least one route");
        let items = routes.as_ref().map(Field::items).unwrap_or_default();
        let read: Vec<Option<RouteSpec>> = items.iter().map(RouteSpec::read).collect();
        let total = read.len();
        let routes_read: Vec<RouteSpec> = read.into_iter().flatten().collect();
        map.done();
        Self {
            unreadable: total - routes_read.len(),
            routes: routes_read,
            routes_place: routes.map(|field| field.place()).unwrap_or_default(),
        }
    }
}
