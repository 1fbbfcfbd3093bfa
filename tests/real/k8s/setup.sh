#!/bin/sh
# Kubernetes' API server with etcd, Argo CD, kubectl and the kubelet's writer of mounted ConfigMaps, built by Go from their modules at the versions in go.mod; Redis (Argo CD's
# cache) from the system's packages. Does nothing when they are there.
# usage: setup.sh BIN
set -eu
mkdir -p "$1"
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")"
kubernetes=$(sed -n 's/^\tk8s.io\/kubernetes v/v/p' go.mod)
stamp=$(cat go.mod go.sum setup.sh kubelet-mount/main.go | sha256sum | cut -c1-16)

package() {
    command -v "$1" >/dev/null || missing="$missing $2"
}
missing=
package redis-server redis-server
package git git
package curl curl
package openssl openssl
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

[ "$(cat "$bin/k8s.stamp" 2>/dev/null)" = "$stamp" ] && exit 0
. ../go.sh
build() {
    echo "building $1 (cold: minutes)" >&2
    go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" -o "$bin/$1" "$2"
}
# One flag set for all: what they share is compiled once.
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build etcd go.etcd.io/etcd/server/v3
build argocd github.com/argoproj/argo-cd/v3/cmd
build kubectl k8s.io/kubernetes/cmd/kubectl
build kubelet-mount ./kubelet-mount
# Argo CD's resource definitions and its own configuration, as its module ships them.
argocd=$(go list -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)
rm -rf "$bin/argocd-manifests"
mkdir "$bin/argocd-manifests"
cp -r "$argocd/manifests/crds" "$argocd/manifests/base/config" "$bin/argocd-manifests/"
chmod -R u+w "$bin/argocd-manifests"
echo "$stamp" > "$bin/k8s.stamp"
