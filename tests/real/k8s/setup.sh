#!/bin/sh
# Kubernetes' API server with etcd, Argo CD, kubectl and the kubelet's writer of mounted ConfigMaps, built by Go from their modules
# at the versions in go.mod; Redis (Argo CD's cache) from the system's packages. Does nothing when they are there.
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
package python3 python3
. ../apt.sh
# shellcheck disable=SC2086
[ -z "$missing" ] || install_packages $missing

[ "$(cat "$bin/k8s.stamp" 2>/dev/null)" = "$stamp" ] && exit 0
. ../go.sh
kube_apiserver=k8s.io/kubernetes/cmd/kube-apiserver
etcd=go.etcd.io/etcd/server/v3
argocd=github.com/argoproj/argo-cd/v3/cmd
kubectl=k8s.io/kubernetes/cmd/kubectl
mount=./kubelet-mount
echo "downloading the modules that are needed" >&2
again go list -deps -f '' "$kube_apiserver" "$etcd" "$argocd" "$kubectl" "$mount" >/dev/null
# Each compiler takes up to 2 GB.
jobs=$(nproc)
[ "$jobs" -le 4 ] || jobs=4
build() {
    echo "building $1 (cold: minutes)" >&2
    go build -p "$jobs" -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes" -o "$bin/$1" "$2"
}
# One flag set for all: what they share is compiled once.
build kube-apiserver "$kube_apiserver"
build etcd "$etcd"
build argocd "$argocd"
build kubectl "$kubectl"
build kubelet-mount "$mount"
# Argo CD's resource definitions and its own configuration, as its module ships them.
module=$(go list -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)
rm -rf "$bin/argocd-manifests"
mkdir "$bin/argocd-manifests"
cp -r "$module/manifests/crds" "$module/manifests/base/config" "$bin/argocd-manifests/"
chmod -R u+w "$bin/argocd-manifests"
echo "$stamp" > "$bin/k8s.stamp"
