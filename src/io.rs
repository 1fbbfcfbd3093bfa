//! World to core types and back: one file per thing in the world. Translators hold no policy.

pub mod checked;
pub mod client;
pub mod clock;
pub mod dial;
pub mod directory;
pub mod forge;
pub mod gather;
pub mod git;
pub mod inbox;
pub mod kube;
pub mod listener;
pub mod meters;
pub mod metrics;
pub mod mlflow;
pub mod notify;
pub mod outbound;
pub mod pairs;
pub mod pool;
pub mod process;
pub mod prometheus;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod tls;
