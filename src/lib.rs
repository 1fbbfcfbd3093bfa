//! Coalmine: a canary traffic-splitting inference proxy.
//!
//! The code map, in floor order; `ARCHITECTURE.md` has the whole picture. Imports only point to lower floors.
//!
//! - floor 0: [`core`] decides; no IO, no async, no clock, no dice
//! - floor 1: [`config`] turns text into truth, [`io`] talks to the world; they never import one another
//! - floor 2: [`proxy`] carries traffic, [`control`] runs the loops, [`admin`] serves people; they never import one another
//! - floor 3: [`app`] builds and owns everything, [`demo`] plays the world around it
//! - floor 4: [`cli`] reads the arguments

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod demo;
pub mod io;
pub mod proxy;
