//! Releases in a made-up world: people, Git, deliveries and the judge do what they like, seeded; the promises hold.
//!
//! `docs` are its routes files, `world` is the branch, the replicas and the promises, `chance` what may happen at random,
//! `whole` single stories told from the first step to the last.

mod chance;
mod docs;
mod whole;
mod world;
