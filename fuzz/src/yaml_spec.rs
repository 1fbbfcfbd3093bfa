//! Routes and settings files: no text panics; what compiles is whole, what does not says where, inside the text.

use coalmine::{
    config::{self, Problem, settings::Settings},
    core::{clamp::Clamps, name::ReleaseKey, split::Draw},
};

/// The input is the text of a file.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(problems) = Settings::read(text, &[]) {
        told(&problems, text);
    }
    let clean = Clamps::default();
    let (snapshot, warnings) = match config::read(text, &clean) {
        Ok(good) => good,
        Err(problems) => return told(&problems, text),
    };
    warnings.iter().for_each(|warning| inside(warning, text));
    assert!(!snapshot.routes.is_empty(), "a table of nothing compiled");
    let again = config::read(text, &clean).expect("what compiled once compiles again").0;
    assert_eq!(snapshot, again, "compiling is not a function");
    let mut clamps = Clamps::default();
    for route in &snapshot.routes {
        let said: u32 = route.variants.iter().map(|variant| u32::from(variant.said.basis_points())).sum();
        assert_eq!(said, 10_000, "{}", route.name);
        assert_eq!(route.variants[route.stable].role.as_str(), "stable");
        for draw in [Draw::from_bits(0), Draw::from_bits(u64::MAX), Draw::sticky(&route.name, ReleaseKey(1), data)] {
            let picked = route.variant(route.split.pick(draw)).expect("a pick is a variant");
            assert!(picked.effective.basis_points() > 0, "{} got traffic at weight 0", picked.name);
        }
        let (position, found) = snapshot.routes.named(route.name.as_str()).expect("found by its name");
        assert_eq!(snapshot.routes.get(position), Some(found));
        if let Some(release) = &route.release {
            clamps.hold(&route.name, &route.variants[release.candidate].artefact);
        }
    }
    // A clamp only lowers, and never makes a good file bad.
    let clamped = config::read(text, &clamps).expect("a clamp never makes a file bad").0;
    for (before, after) in snapshot.routes.iter().zip(&clamped.routes) {
        let sum: u32 = after.variants.iter().map(|variant| u32::from(variant.effective.basis_points())).sum();
        assert_eq!(sum, 10_000, "{}", after.name);
        if let Some(release) = &before.release {
            let [was, is] = [before, after].map(|route| route.variants[release.candidate].effective);
            assert!(is <= was, "a clamp raised {}", before.name);
        }
    }
}

fn told(problems: &[Problem], text: &str) {
    assert!(!problems.is_empty(), "refused without a reason");
    problems.iter().for_each(|problem| inside(problem, text));
}

/// A problem has a place in the text and can be shown.
fn inside(problem: &Problem, text: &str) {
    assert!(text.get(problem.span.clone()).is_some(), "{problem:?} is not inside of the text");
    assert!(!problem.one_line("routes.yaml").is_empty());
    assert!(!problem.render("routes.yaml", text, false).is_empty());
}
