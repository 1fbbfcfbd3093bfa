#!/bin/sh
# Gitea, built by Go from its module at the version in go.mod (cold some five minutes of CPU), and what it reads at run time; the web
# assets are left out. Does nothing when it is there. usage: setup.sh BIN
set -eu
mkdir -p "$1"
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")"
missing=
command -v openssl >/dev/null || missing="$missing openssl"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
command -v curl >/dev/null || missing="$missing curl"
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing
fi
stamp=$(cat go.mod go.sum setup.sh | sha256sum | cut -c1-16)
[ "$(cat "$bin/gitea.stamp" 2>/dev/null)" = "$stamp" ] && exit 0
. ../go.sh
echo "building Gitea (cold: minutes)" >&2
again go list -deps -tags "sqlite sqlite_unlock_notify" code.gitea.io/gitea >/dev/null
GOFLAGS=-p=2 go build -tags "sqlite sqlite_unlock_notify" -trimpath -ldflags "-s -w" -o "$bin/gitea" code.gitea.io/gitea
module=$(go list -m -f '{{.Dir}}' code.gitea.io/gitea)
rm -rf "$bin/gitea-static"
mkdir "$bin/gitea-static"
cp -r "$module/templates" "$module/options" "$bin/gitea-static/"
chmod -R u+w "$bin/gitea-static"
echo "$stamp" > "$bin/gitea.stamp"
