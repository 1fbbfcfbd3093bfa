//! Edits in place: golden files, and any file that can be written in many ways. The same intent everywhere: `v2` of the route
//! `digits` is rejected, `v1` takes all.

use coalmine::{
    config::{
        self,
        edit::{EditError, edit, restore, set},
    },
    core::{
        clamp::Clamps, name::VariantName, plan::FileEdit, release::intent::Change, route::Route, split::Weight,
        variant::Role,
    },
};
use proptest::prelude::*;
use std::{fs, path::PathBuf};

fn rollback() -> [Change; 2] {
    let name = |name| VariantName::new(name).unwrap();
    [
        Change { variant: name("v1"), weight: Weight::FULL, role: Role::Stable },
        Change { variant: name("v2"), weight: Weight::ZERO, role: Role::Rejected },
    ]
}

fn golden(dir: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/edits").join(dir)
}

fn digits(text: &str) -> Route {
    let told = |problems: Vec<config::Problem>| problems.iter().map(|p| p.one_line("it") + "\n").collect::<String>();
    let (snapshot, _) = config::read(text, &Clamps::default()).map_err(told).unwrap_or_else(|told| panic!("{told}"));
    snapshot.routes.named("digits").unwrap().1.as_ref().clone()
}

#[test]
fn each_original_becomes_what_is_expected() {
    let mut seen = 0;
    for entry in fs::read_dir(golden("original")).unwrap() {
        let name = entry.unwrap().file_name();
        let [original, expected] =
            ["original", "expected"].map(|dir| fs::read_to_string(golden(dir).join(&name)).unwrap());
        let edited = edit(&original, "digits", &rollback()).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert_eq!(edited, expected, "{name:?}");
        says_it(&edited);
        seen += 1;
    }
    assert_eq!(seen, fs::read_dir(golden("expected")).unwrap().count());
    assert!(seen > 10, "{seen}");
}

#[track_caller]
fn says_it(text: &str) {
    let said: Vec<_> = digits(text).variants.iter().map(|v| (v.said, v.role)).collect();
    assert_eq!(said, [(Weight::FULL, Role::Stable), (Weight::ZERO, Role::Rejected)], "{text}");
}

const HEAD: &str = "apiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n  - name: digits\n    match: { path: / }\n    variants:\n      - { name: v1, role: stable, weight: 70, url: 'http://h:1' }\n";

#[test]
fn what_cannot_be_edited_in_place_is_refused_with_its_line() {
    let check = |text: &str, part: &str| {
        let refused = edit(text, "digits", &rollback()).unwrap_err().to_string();
        assert!(refused.contains(part), "{part:?} is missing in {refused:?}");
    };
    let v2 = |text: &str| format!("{HEAD}      - {text}\n");
    check(
        &v2("{ name: v2, role: &c canary, weight: 30, url: 'http://h:2' }"),
        "routes.yaml:8:30: anchors are not used",
    );
    check(&v2("{ name: v2, role: *c, weight: 30, url: 'http://h:2' }"), "routes.yaml:8:");
    check(&v2("{ name: v2, role: !!str canary, weight: 30, url: 'http://h:2' }"), "routes.yaml:8:");
    check(
        &v2("name: v2\n        role: |-\n          canary\n        weight: 30\n        url: http://h:2"),
        "(line 10)",
    );
    check(
        &format!("{}---\nmore: 1\n", v2("{ name: v2, role: canary, weight: 30, url: 'http://h:2' }")),
        "routes.yaml:9:",
    );
    check("routes: [", "routes.yaml:");
    let inner = v2("{ name: v2, role: canary, weight: 30, url: 'http://h:2' }");
    let map = |value: &str| format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  routes.yaml: {value}\n");
    check(&map(&serde_json::Value::from(inner.as_str()).to_string()), "under `routes.yaml: |`");
    let anchored: String = inner.replace("canary", "&c canary").lines().map(|l| format!("    {l}\n")).collect();
    check(&map(&format!("|\n{anchored}")), "routes.yaml:12:");
    let half = edit(&inner, "digits", &rollback()[..1]).unwrap_err();
    assert!(matches!(half, EditError::Invalid(_)), "130 % must not be written: {half}");
    let nowhere = edit(&inner, "letters", &rollback()).unwrap_err();
    assert!(matches!(nowhere, EditError::NoPlace(_)), "{nowhere}");
}

#[test]
fn a_scalar_of_any_file_is_set_where_it_stands() {
    let text = "# ours\r\nspec:\r\n  replicas: 1   # few\r\n  containers:\r\n    - {name: a, image: 'repo/a:1'}\r\n    - name: \"b\"\r\n      image: repo/b:1\r\n";
    let edit = |path: &str, value: &str| FileEdit::new("canary.yaml", path, value).unwrap();
    let edits = [
        edit("spec.replicas", "4"),
        edit("spec.containers.0.image", "it's: new"),
        edit("spec.containers.1.name", "a \"b\""),
        edit("spec.containers.1.image", "repo/b: 2 # x"),
    ];
    let wanted = text
        .replace("replicas: 1 ", "replicas: 4 ")
        .replace("'repo/a:1'", "'it''s: new'")
        .replace("name: \"b\"", "name: \"a \\\"b\\\"\"")
        .replace("image: repo/b:1", "image: \"repo/b: 2 # x\"");
    assert_eq!(set(text, &edits.iter().collect::<Vec<_>>()).unwrap(), wanted);
    assert_eq!(config::edit::value(&wanted, &edits[3]).as_deref(), Some("repo/b: 2 # x"));
    for (path, text, part) in [
        ("spec.containers", text, "`spec.containers` of canary.yaml (line 5)"),
        ("spec.nothing", text, "`spec.nothing` of canary.yaml"),
        ("a.b", "a: &x { b: 1 }\nc: *x\n", "canary.yaml:1:7: anchors"),
        ("a.b", "a: { b: 1 }\n---\nc: 1\n", "canary.yaml:2:"),
    ] {
        let refused = set(text, &[&edit(path, "1")]).unwrap_err().to_string();
        assert!(refused.contains(part), "{part:?} is missing in {refused:?}");
    }
}

#[test]
fn a_route_gets_its_older_block_back_and_all_else_stays() {
    let tail = "  # the next\n  - name: letters\n    match: { path: /letters }\n    variants: [{ name: a, role: stable, weight: 100, url: 'http://h:9' }]\n# end\n";
    let good = format!("{HEAD}      - {{ name: v0, role: previous, weight: 30, url: 'http://h:3' }}   # older\n{tail}");
    let bad = format!(
        "# changed meanwhile\n{}      - name: v2\n        role: canary\n        weight: 30\n        url: http://h:2\n{}",
        HEAD.replace("path: /", "path: /x"),
        tail.replace("h:9", "h:99")
    );
    let wanted = format!(
        "# changed meanwhile\n{HEAD}      - {{ name: v0, role: previous, weight: 30, url: 'http://h:3' }}   # older\n{}",
        tail.replace("h:9", "h:99")
    );
    assert_eq!(restore(&bad, &good, "digits").unwrap(), wanted);
    let map = |text: &str, line: &str| {
        let block: String = text.lines().map(|l| format!("    {l}{line}")).collect();
        format!("apiVersion: v1{line}kind: ConfigMap{line}data:{line}  routes.yaml: |{line}{block}")
    };
    for line in ["\n", "\r\n"] {
        assert_eq!(restore(&map(&bad, line), &good, "digits").unwrap(), map(&wanted, line));
        assert_eq!(restore(&map(&bad, line), &map(&good, "\n"), "digits").unwrap(), map(&wanted, line));
    }
    assert!(matches!(
        restore(&bad, &tail.replace("  # the next\n", "routes:\n"), "digits"),
        Err(EditError::NoPlace(_))
    ));
}

/// How a scalar may be written.
fn quoted(style: u8, value: &str) -> String {
    match style {
        0 => value.to_owned(),
        1 => format!("'{value}'"),
        _ => format!("\"{value}\""),
    }
}

/// A file written in one of many ways; the same way gives the same bytes around the scalars.
#[derive(Clone, Debug)]
struct Way {
    flow: bool,
    weight_first: bool,
    quotes: [u8; 4],
    spaces: usize,
    comment: String,
    block: Option<(usize, &'static str)>,
    carriage: bool,
    end: bool,
}

impl Way {
    fn write(&self, v1: &str, v2: (&str, &str)) -> String {
        let Self { quotes, spaces, comment, .. } = self;
        let space = " ".repeat(*spaces);
        let note = if comment.is_empty() { String::new() } else { format!("   # {comment}") };
        let variant = |name: &str, role: String, weight: String, url: &str| {
            let (role, weight) = (format!("role:{space}{role}"), format!("weight:{space}{weight}"));
            let (a, b) = if self.weight_first { (weight, role) } else { (role, weight) };
            if self.flow {
                format!("      - {{ {a}, name: {name}, {b}, url: '{url}' }}{note}\n")
            } else {
                format!(
                    "      - name: {name}\n        {a}{note}\n\n        # {comment}\n        {b}\n        url: '{url}'\n"
                )
            }
        };
        let text = format!(
            "# {comment}\napiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n  - name: digits{note}\n    match: {{ path: / }}\n    variants:\n{}{}",
            variant("v1", quoted(quotes[0], "stable"), quoted(quotes[1], v1), "http://h:1"),
            variant("v2", quoted(quotes[2], v2.0), quoted(quotes[3], v2.1), "http://h:2"),
        );
        let mut text = match self.block {
            None => text,
            Some((indent, header)) => {
                let margin = " ".repeat(indent);
                let line = |l: &str| if l.is_empty() { "\n".to_owned() } else { format!("{margin}{l}\n") };
                let block: String = text.lines().map(line).collect();
                // The indicator counts from the parent's two.
                let header = header.replace('N', &(indent - 2).to_string());
                format!(
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: r }}\ndata:\n  routes.yaml: {header}\n{block}"
                )
            }
        };
        if !self.end {
            text.pop();
        }
        if self.carriage { text.replace('\n', "\r\n") } else { text }
    }
}

fn way() -> impl Strategy<Value = Way> {
    let header = prop::sample::select(vec!["|", "|-", "|+", "|N", "|N-", "|+N", "|  # why"]);
    let block = prop::option::of((3_usize..9, header));
    let comment = "[a-zé: '\"{}#,|>&*!-]{0,12}";
    let quotes = prop::array::uniform4(0_u8..3);
    (any::<[bool; 4]>(), quotes, 1_usize..4, comment, block).prop_map(|(yes, quotes, spaces, comment, block)| Way {
        flow: yes[0],
        weight_first: yes[1],
        quotes,
        spaces,
        comment: comment.trim().to_owned(),
        block,
        carriage: yes[2],
        end: yes[3],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn however_a_file_is_written_it_then_says_the_intent_and_every_other_byte_stays(
        way in way(), percent in 1_u32..99,
    ) {
        let (stable, canary) = ((100 - percent).to_string(), percent.to_string());
        let text = way.write(&stable, ("canary", &canary));
        let edited = edit(&text, "digits", &rollback());
        prop_assert!(edited.is_ok(), "{edited:?}\n{text}");
        let edited = edited.unwrap();
        prop_assert_eq!(&edited, &way.write("100", ("rejected", "0")));
        says_it(&edited);
    }
}
