//! The control plane: loops that join the core to the world. They meet one another only over channels.

pub mod commit_loop;
pub mod config_loop;
pub mod guardrail_loop;
pub mod history_loop;
pub mod judge_loop;
mod message;
pub mod notify_loop;
pub mod nudge_loop;
pub mod proposal;
pub mod pull_requests;
pub mod record;
pub mod registry_loop;
pub mod release_loop;
mod undo;

/// The loops are polled one after the other, round after round: within one round whoever reads a channel has taken in what was
/// put there. So many rounds of that are let pass.
async fn others_first(rounds: u32) {
    for _ in 0..rounds {
        tokio::task::yield_now().await;
    }
}
