//! The core decides. No IO, no async, no clock, no dice, no logs: data in, data out.

pub mod balance;
pub mod clamp;
pub mod command;
pub mod fallback;
pub mod forecast;
pub mod grpc;
pub mod interval;
pub mod judge;
pub mod name;
pub mod notice;
pub mod now;
pub mod outlier;
pub mod pair_book;
pub mod plan;
pub mod pointer;
pub mod release;
pub mod replay;
pub mod route;
pub mod snapshot;
pub mod split;
pub mod stats;
pub mod status;
pub mod tally;
pub mod ticket;
pub mod variant;
pub mod wire;
