//! Releases in a made-up world: people, Git, deliveries and the judge do what they like, seeded; the promises hold.
//!
//! `docs` are its routes files, `world` is the branch and the replicas, `promises` what must hold in it, `chance` what may
//! happen at random, `small` everything that may happen in a world of two replicas, `whole` single stories told from the first
//! step to the last, `found` the stories that the others have found out,
//! `table` what the documentation says of all this.

mod chance;
mod docs;
mod found;
mod promises;
mod small;
mod table;
mod whole;
mod world;
