#!/bin/sh
# What `make bench` needs besides Rust: nginx, wrk and taskset, from the system's packages.
set -eu
PATH=$PATH:/usr/sbin
missing=
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v wrk >/dev/null || missing="$missing wrk"
command -v taskset >/dev/null || missing="$missing util-linux"
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq $missing
fi
