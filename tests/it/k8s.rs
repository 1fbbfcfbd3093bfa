//! Against a real Kubernetes API server, and a real Argo CD over it: `make test-k8s`, which brings both.
//!
//! Ignored by `cargo test`, for it wants a cluster: `cargo test --test it k8s:: -- --ignored` runs it. It has a cluster of its own,
//! unless KUBECONFIG names one.

mod bed;
mod branch;
mod by_hand;
mod clusters;
mod journey;
mod up_and_down;
mod watched;
mod weights;
