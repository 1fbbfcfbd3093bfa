#!/bin/sh
# Mutants of src/core, which depends on nothing else in here: so the core, the config that tests of releases read, and the tests of both
# become a library of their own (target/mutants/crate). cargo-mutants lists the mutants; nearly all of them are woven into one build (woven/),
# where each costs no more than the tests that come by it; the few that cannot be are built one by one, by cargo-mutants itself.
# What survives: missed.txt and unseen.txt in target/mutants/woven, missed.txt in target/mutants/alone/mutants.out; why: tests/mutants.md.
# usage: run.sh [FILE...] (of src/core, as `src/core/stats/rate.rs`; all of it without)
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
crate=$root/target/mutants/crate
mkdir -p "$crate/src" "$crate/tests"
cd "$root"
put() { rm -rf "$2" && cp -R "$1" "$2"; }
for part in core core.rs config config.rs; do put "src/$part" "$crate/src/$part"; done
put tests/it "$crate/tests/it"
for part in null null.rs releases.rs simulation simulation.rs streams.rs vectors.rs; do put "tests/it/$part" "$crate/src/$part"; done
# Made-up worlds restart: what is saved is the real thing, over a store that forgets with the process.
rm -rf "$crate/src/control" "$crate/src/io"
mkdir -p "$crate/src/control" "$crate/src/io"
for part in record record.rs; do put "src/control/$part" "$crate/src/control/$part"; done
cp tests/real/mutants/store.rs "$crate/src/io/store.rs"
put tests/vectors "$crate/tests/vectors"
put config "$crate/config"
put docs "$crate/docs"
cp tests/real/mutants/lib.rs "$crate/src/lib.rs"
# Streams are worlds for other tests; what is shipped of them needs the program.
sed -i '/^mod shipped;$/d' "$crate/src/streams.rs"
# A hundred thousand worlds for each mutant would take a night; so few do not come upon every transition there is.
sed -i 's/^const WORLDS: u64 = .*/const WORLDS: u64 = 4_000;/; /hold_against(/d' "$crate/src/simulation/chance.rs"
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

CARGO_TARGET_DIR=$root/target/mutants/tool cargo build --quiet --locked --manifest-path "$root/tests/real/mutants/woven/Cargo.toml"
mutants=$root/target/real/bin/cargo-mutants
woven=$root/target/mutants/woven
[ $# -gt 0 ] || set -- 'src/core/**'
files=$(printf -- '--file %s ' "$@")
set -f # `**` is for cargo-mutants
cd "$crate"
# shellcheck disable=SC2086
"$mutants" mutants --list --json $files >"$root/target/mutants/list.json"

rm -rf "$woven/crate"
mkdir -p "$woven"
cp -R "$crate" "$woven/crate"
cp "$root/tests/real/mutants/woven/on.rs" "$woven/crate/src/woven.rs"
echo 'mod woven;' >>"$woven/crate/src/lib.rs"
# Here the tests cost more than the one build.
sed -i 's/^opt-level = 0/opt-level = 1/' "$woven/crate/Cargo.toml"
CARGO_TARGET_DIR=$root/target/mutants/woven-build "$root/target/mutants/tool/debug/woven" "$crate" "$woven" "$root/target/mutants/list.json"

# What is left out, first without the tests that take long; those that delete a field come along, whatever is asked for.
[ -s "$woven/left-out.txt" ] || exit 0
sed 's/[][\\.*^$()+?{}|]/\\&/g; s/.*/^&$/' "$woven/left-out.txt" >"$woven/left-out.regex"
set --
while IFS= read -r name; do set -- "$@" --re "$name"; done <"$woven/left-out.regex"
quick='--skip null:: --skip simulation:: --skip interval:: --skip forecast:: --skip trial::tests::modes:: --skip counters_of_many'
for skip in "$quick" ''; do
    # 2 and 3: some survived, some took too long.
    # shellcheck disable=SC2086
    "$mutants" mutants --jobs "$(nproc)" --gitignore false --no-shuffle --iterate --output "$root/target/mutants/alone" \
        --minimum-test-timeout 60 --build-timeout 300 $files "$@" -- --lib -- $skip || [ $? -le 3 ]
done
