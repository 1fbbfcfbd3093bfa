#!/bin/sh
# Git servers for the tests, from the system's packages: sshd; nginx with fcgiwrap before git's own http-backend; gpg for signatures;
# tinyproxy as the proxy between.
# Does nothing when they are there. The tests start their own, on loopback and as whoever runs them.
set -eu
missing=
have() { [ -x "/usr/sbin/$1" ] || command -v "$1" >/dev/null; }
have sshd || missing="$missing openssh-server"
have nginx || missing="$missing nginx-light"
have fcgiwrap || missing="$missing fcgiwrap"
have gpg || missing="$missing gpg gpg-agent"
have tinyproxy || missing="$missing tinyproxy-bin"
. "$(dirname "$0")/../apt.sh"
# shellcheck disable=SC2086
[ -z "$missing" ] || install_packages $missing
# An sshd that root starts wants an empty directory there.
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
