//! Orders about releases. Each answer tells what was done and what comes next.

use super::{There, finish};
use crate::config;
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Who orders, why, and where.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Who {
    /// Why; it stands in the commit.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who; it stands in the commit.
    #[arg(long, env = "USER", default_value = "")]
    by: String,
    /// The generation that was looked at (`status --output json` tells it); the order is refused if another one is in force.
    #[arg(long)]
    generation: Option<u64>,
    #[command(flatten)]
    there: There,
}

/// An order about one route.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Order {
    /// The route.
    route: String,
    #[command(flatten)]
    who: Who,
}

/// An order about all routes.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Freeze {
    #[command(flatten)]
    who: Who,
}

/// An order to go on.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Promote {
    #[command(flatten)]
    order: Order,
    /// Also against a judge that has not passed the canary. Needs a reason.
    #[arg(long, requires = "reason")]
    override_judge: bool,
}

/// A weight for a while.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct SetWeight {
    /// The route.
    route: String,
    /// The candidate's weight in per cent, such as `25`.
    #[arg(required_unless_present = "clear", conflicts_with = "clear", requires = "for")]
    weight: Option<f64>,
    /// For how long, such as `10m`; at most 24 hours. Then the file's weight again.
    #[arg(long = "for", id = "for", value_name = "DURATION")]
    time: Option<String>,
    /// The file's weight again now.
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    who: Who,
}

/// An order to let a rejected variant in again.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Readmit {
    /// The route.
    route: String,
    /// The variant.
    variant: String,
    #[command(flatten)]
    who: Who,
}

impl Who {
    fn give(&self, command: &str, more: &Value) -> ExitCode {
        let Self { reason, by, generation, there } = self;
        let mut body = json!({ "command": command, "reason": reason, "by": by, "generation": generation });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        finish(there.call(Method::POST, "/v1/commands", body.to_string()).map(|answer| {
            there.print(&answer, |answer| answer["result"].as_str().unwrap_or("done").to_owned());
        }))
    }
}

impl Order {
    pub(in crate::cli) fn run(self, command: &str) -> ExitCode {
        self.who.give(command, &json!({ "route": self.route }))
    }
}

impl Freeze {
    pub(in crate::cli) fn run(self, command: &str) -> ExitCode {
        self.who.give(command, &json!({}))
    }
}

impl Promote {
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Order { route, who } = self.order;
        who.give("promote", &json!({ "route": route, "override_judge": self.override_judge }))
    }
}

impl SetWeight {
    pub(in crate::cli) fn run(self) -> ExitCode {
        let route = self.route;
        let Some(weight) = self.weight else { return self.who.give("clear_weight", &json!({ "route": route })) };
        match config::duration(&self.time.unwrap_or_default()) {
            Ok(time) => {
                let more = json!({ "route": route, "weight": weight, "for_seconds": time.as_secs() });
                self.who.give("set_weight", &more)
            }
            Err(why) => finish(Err(anyhow::anyhow!("--for: {why}"))),
        }
    }
}

impl Readmit {
    pub(in crate::cli) fn run(self) -> ExitCode {
        self.who.give("readmit", &json!({ "route": self.route, "variant": self.variant }))
    }
}
