#!/bin/sh
# Prometheus, from the system's packages. Does nothing when it is there. The tests start their own, on loopback.
set -eu
if ! command -v prometheus >/dev/null; then
    echo "installing prometheus" >&2
    # No server of the machine's own is wanted.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends prometheus
fi
