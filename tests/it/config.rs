//! Every routes file in `config/`, and the one in the README, compiles.

use coalmine::{config, core::clamp::Clamps};

#[track_caller]
fn compiles(name: &str, text: &str) {
    if let Err(problems) = config::read(text, &Clamps::default()) {
        panic!("{name}: {}", problems.iter().map(|p| p.one_line(name)).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn every_file_of_ours_compiles() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut seen = 0;
    for entry in std::fs::read_dir(format!("{root}/config")).unwrap() {
        let path = entry.unwrap().path();
        compiles(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        seen += 1;
    }
    assert!(seen > 0);
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    let example = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    compiles("README.md", example);
}
