//! Against a real Kubernetes API server, and a real Argo CD over it: `make test-k8s`, which brings both.
//!
//! Ignored by `cargo test`, for it wants a cluster: `cargo test --test it k8s:: -- --ignored` runs it. It has a cluster of its own,
//! unless KUBECONFIG names one: then whoever it lets in needs all rights there, no Argo CD may run in its namespace `argocd`, for the
//! tests bring theirs and run it on this machine, and what they make in the cluster is deleted at the end.

mod bed;
mod branch;
mod by_hand;
mod clusters;
mod journey;
mod up_and_down;
mod watched;
mod weights;
