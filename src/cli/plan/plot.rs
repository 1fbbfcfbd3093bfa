//! Time against effect as SVG: accuracy and errors side by side, at several shares of the canary. Nothing but text: the same
//! arguments give the same bytes.

use super::words;
use crate::core::{
    forecast::plan::{Planner, Question, Service, Unit},
    judge::{Policy, Signal},
};
use std::fmt::Write as _;

/// Shares of the canary that are drawn, and their colours.
const SHARES: [(f64, &str); 4] = [(0.01, "#9aa0a6"), (0.05, "#e8a33d"), (0.1, "#2b7bba"), (0.5, "#2c9c5a")];
/// The shadow's share and colour.
const SHADOW: (f64, &str) = (0.1, "#b23a48");
/// A panel's inner size, and where the first begins.
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 56.0;
const APART: f64 = 80.0;
/// Ends of the axis of time, seconds: ten seconds to a month.
const TIME: (f64, f64) = (10.0, 2_592_000.0);
const TIMES: [(f64, &str); 6] =
    [(10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"), (3_600.0, "1 h"), (86_400.0, "1 day"), (604_800.0, "1 week")];
/// Steps of a line.
const STEPS: u32 = 24;

/// One panel: what gets worse, by how much.
struct Panel {
    title: String,
    signal: Signal,
    /// Ends of the axis, as what the canary is worse by.
    from: f64,
    to: f64,
    ticks: [(f64, &'static str); 5],
}

impl Panel {
    fn x(&self, worse: f64) -> f64 {
        WIDTH * (worse / self.from).ln() / (self.to / self.from).ln()
    }

    fn value(&self, service: &Service, worse: f64) -> f64 {
        match self.signal {
            Signal::Accuracy => service.accuracy - worse,
            Signal::Errors | Signal::Latency | Signal::Disagreement | Signal::Guardrail => service.errors + worse,
        }
    }
}

fn y(seconds: f64) -> f64 {
    let (from, to) = TIME;
    HEIGHT * (1.0 - (seconds.clamp(from, to) / from).ln() / (to / from).ln())
}

/// The plot for a policy and a service, at shares of its own.
pub(super) fn svg(policy: &Policy, service: &Service) -> String {
    let panels = [
        Panel {
            title: format!("accuracy falls from {} by", words::per_cent(service.accuracy)),
            signal: Signal::Accuracy,
            from: 0.01,
            to: 0.2,
            ticks: [(0.01, "1 %"), (0.02, "2 %"), (0.05, "5 %"), (0.1, "10 %"), (0.2, "20 %")],
        },
        Panel {
            title: format!("errors rise from {} by", words::per_cent(service.errors)),
            signal: Signal::Errors,
            from: 0.001,
            to: 0.1,
            ticks: [(0.001, "0.1 %"), (0.003, "0.3 %"), (0.01, "1 %"), (0.03, "3 %"), (0.1, "10 %")],
        },
    ];
    let (width, height) = (LEFT + 2.0 * WIDTH + APART + 20.0, TOP + HEIGHT + 78.0);
    let (rate, labelled) = (words::short(service.rate), words::per_cent(service.labelled));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\" aria-label=\"How long until a worse canary is rolled back\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">How long until half of such canaries are rolled back, \
         at {rate} requests a second, {labelled} of them labelled</text>\n"
    );
    for (panel, left) in panels.iter().zip([LEFT, LEFT + WIDTH + APART]) {
        let _ = writeln!(out, "<g transform=\"translate({left} {TOP})\">");
        frame(&mut out, panel);
        let unit = if panel.signal == Signal::Accuracy { Unit::Labels } else { Unit::Requests };
        for (share, colour) in SHARES {
            line(&mut out, panel, policy, &Service { share, ..*service }, unit, colour);
        }
        if panel.signal == Signal::Accuracy {
            let (shadowed, colour) = SHADOW;
            line(&mut out, panel, policy, &Service { shadowed, ..*service }, Unit::Pairs, colour);
        }
        out.push_str("</g>\n");
    }
    legend(&mut out);
    out.push_str("</svg>\n");
    out
}

fn frame(out: &mut String, panel: &Panel) {
    let _ = writeln!(out, "<text x=\"0\" y=\"-10\">{}</text>", panel.title);
    for (seconds, name) in TIMES {
        let at = y(seconds);
        let _ = writeln!(out, "<path d=\"M0 {at:.1}H{WIDTH}\" stroke=\"#ddd\"/>");
        let _ = writeln!(out, "<text x=\"-8\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", at + 4.0);
    }
    for (worse, name) in panel.ticks {
        let at = panel.x(worse);
        let _ = writeln!(out, "<path d=\"M{at:.1} 0V{HEIGHT}\" stroke=\"#eee\"/>");
        let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>", HEIGHT + 18.0);
    }
    let _ = writeln!(out, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#888\"/>");
}

/// How a line is drawn; those of pairs are dashed.
fn stroke(colour: &str, unit: Unit) -> String {
    let dashes = if unit == Unit::Pairs { " stroke-dasharray=\"6 3\"" } else { "" };
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}")
}

fn line(out: &mut String, panel: &Panel, policy: &Policy, service: &Service, unit: Unit, colour: &str) {
    let planner = Planner::new(policy, service);
    let point = |step: u32| {
        let worse = panel.from * (panel.to / panel.from).powf(f64::from(step) / f64::from(STEPS));
        let row = planner.row(panel.signal, unit, Question::Seen(panel.value(service, worse)));
        let seconds = row.seconds(0.5).filter(|seconds| *seconds <= TIME.1)?;
        // Whole pixels: the last digit of a logarithm may differ from machine to machine.
        Some(format!("{:.0},{:.0}", panel.x(worse), y(seconds)))
    };
    let points: Vec<String> = (0..=STEPS).filter_map(point).collect();
    let _ = writeln!(out, "<polyline points=\"{}\" {}/>", points.join(" "), stroke(colour, unit));
}

fn legend(out: &mut String) {
    let labels = SHARES.map(|(share, colour)| (format!("canary {}", words::per_cent(share)), colour, Unit::Labels));
    let pairs = (format!("shadow {}, in pairs", words::per_cent(SHADOW.0)), SHADOW.1, Unit::Pairs);
    for (at, (name, colour, unit)) in (0_u32..).zip(labels.into_iter().chain([pairs])) {
        let (x, y) = (LEFT + 130.0 * f64::from(at), TOP + HEIGHT + 52.0);
        let (stroke, x_name, y_name) = (stroke(colour, unit), x + 30.0, y + 4.0);
        let _ = writeln!(out, "<path d=\"M{x} {y}h24\" {stroke}/><text x=\"{x_name}\" y=\"{y_name}\">{name}</text>");
    }
}
