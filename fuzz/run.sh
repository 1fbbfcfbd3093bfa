#!/bin/sh
# Runs every fuzz target, or those named, for FUZZ_SECONDS each (60). New inputs stay in target/fuzz-corpus between runs; what
# breaks a target stands in target/fuzz-artifacts and, once understood, goes to corpus-seeds.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:$HOME/.cargo/bin
tools=$PWD/target/tools
cargo_fuzz=0.13.1
if ! "$tools/bin/cargo-fuzz" --version 2>/dev/null | grep -q "$cargo_fuzz"; then
    cargo install cargo-fuzz --version "$cargo_fuzz" --locked --root "$tools"
fi
command -v c++ >/dev/null || { apt-get update -qq && apt-get install -y -qq g++; }
# The package forbids unsafe code, so coverage without a sanitizer loses nothing, and builds with the pinned stable toolchain.
host=$(rustc -vV | sed -n 's/^host: //p')
"$tools/bin/cargo-fuzz" build --fuzz-dir fuzz --sanitizer none --target-dir target/fuzz
# libFuzzer's own main does not ignore SIGPIPE as Rust's does, and a caller whose peer has closed must not end the process. `cargo fuzz run`
# would set it back, so the targets are started from here.
trap '' PIPE
[ $# -gt 0 ] || set -- request_head route_match ticket yaml_spec yaml_edit
for target in "$@"; do
    case $target in
        request_head | route_match) extra="-dict=fuzz/dict/http.dict -max_len=4096" ;;
        yaml_*) extra="-dict=fuzz/dict/yaml.dict -max_len=8192" ;;
        *) extra="-max_len=1024" ;;
    esac
    corpus=target/fuzz-corpus/$target
    artifacts=target/fuzz-artifacts/$target
    mkdir -p "$corpus" "$artifacts"
    echo "fuzz: $target"
    # shellcheck disable=SC2086
    "target/fuzz/$host/release/$target" "$corpus" "fuzz/corpus-seeds/$target" \
        -max_total_time="${FUZZ_SECONDS:-60}" -timeout=25 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$artifacts/" $extra
done
