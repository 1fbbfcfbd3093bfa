#!/bin/sh
# What the tests run besides Rust: git, ssh-keygen, curl, from the system's packages. Does nothing when they are there.
set -eu
missing=
command -v git >/dev/null || missing="$missing git"
command -v ssh-keygen >/dev/null || missing="$missing openssh-client"
command -v curl >/dev/null || missing="$missing curl"
if [ -n "$missing" ]; then
    echo "installing$missing" >&2
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq $missing
fi
