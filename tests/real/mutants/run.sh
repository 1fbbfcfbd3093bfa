#!/bin/sh
# Mutants of src/core, which depends on nothing else in here: so the core, the config that tests of releases read, and the tests of both
# become a library of their own (target/mutants/crate), which is built and tested in seconds.
# What survives: target/mutants/GROUP/mutants.out/missed.txt; why: tests/mutants.md.
# usage: run.sh [GROUP [FILE]] (statistics, intervals, releases, rest; all of them without. FILE: of src/core, as `src/core/stats/rate.rs`)
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
crate=$root/target/mutants/crate
mkdir -p "$crate/src" "$crate/tests"
cd "$root"
put() { rm -rf "$2" && cp -R "$1" "$2"; }
for part in core core.rs config config.rs; do put "src/$part" "$crate/src/$part"; done
put tests/it "$crate/tests/it"
for part in null null.rs simulation simulation.rs streams.rs vectors.rs; do put "tests/it/$part" "$crate/src/$part"; done
# Made-up worlds restart: what is saved is the real thing, over a store that forgets with the process.
rm -rf "$crate/src/control" "$crate/src/io"
mkdir -p "$crate/src/control" "$crate/src/io"
for part in record record.rs; do put "src/control/$part" "$crate/src/control/$part"; done
cp tests/real/mutants/store.rs "$crate/src/io/store.rs"
put tests/vectors "$crate/tests/vectors"
put config "$crate/config"
cp tests/real/mutants/lib.rs "$crate/src/lib.rs"
# Streams are worlds for other tests; what is shipped of them needs the program.
sed -i '/^mod shipped;$/d' "$crate/src/streams.rs"
cp Cargo.lock rust-toolchain.toml "$crate"
# The manifest without programs, benches, features and what only the floors above use.
awk '
    /^\[/ { section = $0 }
    section ~ /^\[(\[|features|profile|lints)/ { next }
    section == "[dependencies]" && /^[a-z]/ && !/^(annotate-snippets|base64|granit-parser|http|rand|serde|serde_json|sha2|siphasher|strsim|thiserror|tracing) / { next }
    section == "[dev-dependencies]" && /^[a-z]/ && !/^proptest / { next }
    { print }
' Cargo.toml >"$crate/Cargo.toml"
# Building costs more than the tests of one mutant.
printf '[profile.dev]\nopt-level = 0\ndebug = false\n[profile.dev.package."*"]\nopt-level = 1\n' >>"$crate/Cargo.toml"
cd "$crate"
export CARGO_TARGET_DIR=$root/target/mutants/build

# group NAME "FILES" "SLOW TESTS" "TESTS THAT HAVE NOTHING TO DO WITH THEM": first without the slow ones, then what is left with them.
group() {
    name=$1 files= slow= skips=
    for file in ${only:-$2}; do files="$files --file $file"; done
    for test in $3; do slow="$slow --skip $test"; done
    for test in $4; do skips="$skips --skip $test"; done
    for skip in "$slow $skips" "$skips"; do
        # 2 and 3: some survived, some took too long.
        # shellcheck disable=SC2086
        "$root/target/real/bin/cargo-mutants" mutants --in-place --no-shuffle --iterate --output "$root/target/mutants/$name" \
            --minimum-test-timeout 60 --build-timeout 300 $files -- --lib -- $skip || [ $? -le 3 ]
    done
}
only=${2-}
statistics() { group statistics 'src/core/stats.rs src/core/stats/** src/core/judge.rs src/core/judge/** src/core/replay.rs' null:: 'interval:: forecast:: tally:: simulation:: config::'; }
intervals() { group intervals 'src/core/interval.rs src/core/interval/** src/core/forecast.rs src/core/forecast/**' 'interval:: forecast::' 'simulation:: config:: null::'; }
releases() { group releases 'src/core/release.rs src/core/release/** src/core/clamp.rs src/core/command.rs src/core/plan.rs src/core/status.rs' simulation:: 'interval:: forecast:: null::'; }
rest() { group rest "$(ls src/core/*.rs src/core/tally/*.rs src/core/wire/*.rs | grep -Ev '/(stats|judge|replay|interval|forecast|release|clamp|command|plan|status)[.]rs')" simulation:: 'interval:: forecast:: null::'; }
for name in ${1:-statistics intervals releases rest}; do "$name"; done
