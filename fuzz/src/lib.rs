//! What the fuzz targets do with an input, a file per target. The integration tests include these very files and run them over the
//! committed seeds, so no target can rot between two fuzzing runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a fuzz body says what must hold by panicking"
)]

pub mod request_head;
pub mod route_match;
pub mod ticket;
pub mod wire;
pub mod yaml_edit;
pub mod yaml_spec;
