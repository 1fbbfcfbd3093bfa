#!/bin/sh
# cargo-deny of the pinned version, built by cargo from its crate. Does nothing when it is there.
# usage: setup.sh DIR (the program is DIR/bin/cargo-deny)
set -eu
version=0.20.2
mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ "$("$dir/bin/cargo-deny" --version 2>/dev/null)" = "cargo-deny $version" ] && exit 0
cargo=$(command -v cargo || echo "$HOME/.cargo/bin/cargo")
echo "installing cargo-deny $version" >&2
# Optimising takes longer than it saves: one run looks at one lock file.
CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR="$dir/deny-build" \
    "$cargo" install cargo-deny --version "$version" --locked --quiet --root "$dir"
rm -rf "$dir/deny-build"
