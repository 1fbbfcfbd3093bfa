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
if [ -n "$missing" ]; then
    echo "installing$missing" >&2
    # No server of the machine's own is wanted.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq $missing
fi
# An sshd that root starts wants an empty directory there.
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
