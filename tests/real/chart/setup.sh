#!/bin/sh
# Helm of the pinned version, built by Go from its module. Does nothing when it is there.
# usage: setup.sh BIN
set -eu
mkdir -p "$1"
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")"
version=$(sed -n 's/.*helm.sh\/helm\/v3 v/v/p' go.mod | head -1)
[ -x "$bin/helm" ] && [ "$(cat "$bin/helm.version" 2>/dev/null)" = "$version" ] && exit 0
. ../go.sh
export GOBIN="$bin"
again go install -trimpath -ldflags "-s -w" helm.sh/helm/v3/cmd/helm
echo "$version" > "$bin/helm.version"
