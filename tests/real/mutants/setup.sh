#!/bin/sh
# cargo-mutants of the pinned version, built by cargo from its crate. Does nothing when it is there.
# usage: setup.sh DIR (the program is DIR/bin/cargo-mutants)
set -eu
version=27.1.0
mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ "$("$dir/bin/cargo-mutants" mutants --version 2>/dev/null)" = "cargo-mutants $version" ] && exit 0
cargo=$(command -v cargo || echo "$HOME/.cargo/bin/cargo")
echo "installing cargo-mutants $version" >&2
# It waits for builds and tests of others nearly all of the time: nothing to optimise.
CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR="$dir/mutants-build" \
    "$cargo" install cargo-mutants --version "$version" --locked --quiet --root "$dir"
rm -rf "$dir/mutants-build"
