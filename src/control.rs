//! The control plane: three loops that join the core to the world. They meet one another only over channels.

pub mod clamp_loop;
pub mod commit_loop;
pub mod config_loop;
pub mod judge_loop;
