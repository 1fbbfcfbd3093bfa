#!/usr/bin/env bash
# Waits until its standard input ends: when whoever holds the other end has ended, however that came about. Then it stops what was
# started in DIR, by the ids in the *.pid files there, and removes DIR.
#   keep.sh BIN DIR [RUN]      with RUN, what bears the label coalmine.dev/test=RUN is deleted from the cluster of KUBECONFIG, too
set -u
bin=$1 dir=$2 run=${3:-}
trap '' INT TERM HUP
cat > /dev/null

runs() { [ -e "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat"; }
stop() {
  local file pid
  for file in "$@"; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2> /dev/null
    for _ in $(seq 200); do
      runs "$pid" || continue 2
      sleep 0.05
    done
    kill -9 "$pid" 2> /dev/null
  done
}
# Argo CD first: it would complain about an API server that has gone, and put back what is deleted.
stop "$dir"/*.pid "$dir"/argocd/*.pid
if [ -n "$run" ]; then
  "$bin/kubectl" -n argocd delete --wait=false -l "coalmine.dev/test=$run" \
    applicationsets,applications,secrets,roles,rolebindings > "$dir/deleted.log" 2>&1
  "$bin/kubectl" delete --wait=false -l "coalmine.dev/test=$run" namespaces >> "$dir/deleted.log" 2>&1
fi
stop "$dir"/kube/apiserver.pid "$dir"/kube/etcd.pid
rm -rf "$dir"
