//! One integration binary: a file per behaviour. What a unit test on a lower floor can show does not belong here.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cognitive_complexity,
    reason = "helpers of an integration test are not `in tests` to clippy; a test may panic, read files, print, and tell a story from top to bottom"
)]

mod addresses;
mod admin;
mod backend;
mod backends;
mod certs;
mod chart;
mod config;
mod demo;
mod directory;
mod doctor;
mod edits;
mod explain;
mod forge;
mod fuzz;
mod git;
mod git_access;
mod git_crash;
mod git_servers;
mod git_signed;
mod git_source;
mod git_undo;
mod gitea;
mod githost;
mod grpc;
mod guardrails;
mod h2peer;
mod http2;
mod http2_floods;
mod judged;
mod k8s;
mod live;
mod live_modes;
mod llm;
mod mlflow;
mod mlserver;
mod notify;
mod null;
mod page;
mod people;
mod plan;
mod proxy;
mod pull_requests;
mod python;
mod raw;
mod readme;
mod releases;
mod reload;
mod replay;
mod repo;
mod safety;
mod serve;
mod simulation;
mod source;
mod stage;
mod streams;
mod support;
mod tidy;
mod tls;
mod tls_traffic;
mod tunnel;
mod vectors;
