#!/usr/bin/env bash
# Starts Argo CD's application controller, its ApplicationSet controller and its repository server outside the cluster, against the
# API server of KUBECONFIG, with a Redis of their own on loopback (about 10 s, 500 MB).
#   argocd-up.sh BIN DIR      BIN holds argocd, kubectl and argocd-manifests (setup.sh)
# RECONCILE (default 180s) is Argo CD's polling of Git (`timeout.reconciliation`). DIR/metrics is where the controller tells its
# metrics. Stop it with the ids in DIR/*.pid; after an hour it stops by itself.
set -eu
bin=$1 dir=$2
mkdir -p "$dir"/{tls,ssh,plugins,gpg/keys,gpg/source}
cd "$dir"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
kubectl() { "$bin/kubectl" "$@"; }
redis=$(free_port) repo=$(free_port) metrics=$(free_port) repo_metrics=$(free_port)
set_metrics=$(free_port) set_probe=$(free_port) set_hook=$(free_port)
if kubectl -n argocd get deployments,statefulsets -o name 2> /dev/null | grep . >&2; then
  echo "this cluster has an Argo CD of its own; two of them would be at odds" >&2
  exit 1
fi

timeout -k 5 3600 redis-server --port "$redis" --bind 127.0.0.1 --save "" --appendonly no > redis.log 2>&1 &
echo $! > redis.pid
kubectl create namespace argocd --dry-run=client -o yaml | kubectl apply -f - > /dev/null
kubectl apply --server-side --force-conflicts -k "$bin/argocd-manifests/crds" > /dev/null
kubectl apply -n argocd -k "$bin/argocd-manifests/config" > /dev/null
kubectl -n argocd patch secret argocd-secret --type merge -p '{"stringData":{"server.secretkey":"'"$(openssl rand -base64 32)"'"}}' > /dev/null
cat > project.yaml <<YAML
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default}
spec: {sourceRepos: ["*"], destinations: [{namespace: "*", server: "*"}], clusterResourceWhitelist: [{group: "*", kind: "*"}]}
YAML
# An established kind is offered a moment later.
for _ in $(seq 500); do
  kubectl apply -n argocd -f project.yaml > project.log 2>&1 && break
  sleep 0.2
done
kubectl -n argocd get appproject default > /dev/null

export ARGOCD_RECONCILIATION_TIMEOUT=${RECONCILE:-180s} ARGOCD_RECONCILIATION_JITTER=0s
export ARGOCD_FAKE_IN_CLUSTER=true HOSTNAME=controller-0 ARGOCD_GPG_ENABLED=false \
  ARGOCD_TLS_DATA_PATH=$dir/tls ARGOCD_SSH_DATA_PATH=$dir/ssh ARGOCD_PLUGINSOCKFILEPATH=$dir/plugins \
  ARGOCD_GNUPGHOME=$dir/gpg/keys ARGOCD_GPG_DATA_PATH=$dir/gpg/source
ARGOCD_BINARY_NAME=argocd-repo-server timeout -k 5 3600 "$bin/argocd" --address 127.0.0.1 --port "$repo" \
  --metrics-address 127.0.0.1 --metrics-port "$repo_metrics" --redis "127.0.0.1:$redis" --disable-tls > repo-server.log 2>&1 &
echo $! > repo-server.pid
ARGOCD_BINARY_NAME=argocd-application-controller timeout -k 5 3600 "$bin/argocd" --namespace argocd --metrics-port "$metrics" \
  --redis "127.0.0.1:$redis" --repo-server "127.0.0.1:$repo" --repo-server-plaintext > controller.log 2>&1 &
echo $! > controller.pid
ARGOCD_BINARY_NAME=argocd-applicationset-controller timeout -k 5 3600 "$bin/argocd" --namespace argocd \
  --argocd-repo-server "127.0.0.1:$repo" --repo-server-plaintext --metrics-addr "127.0.0.1:$set_metrics" \
  --probe-addr "127.0.0.1:$set_probe" --webhook-addr "127.0.0.1:$set_hook" > applicationset.log 2>&1 &
echo $! > applicationset.pid
echo "127.0.0.1:$metrics" > metrics
answers() { curl -s --max-time 1 "http://127.0.0.1:$1" > /dev/null 2>&1; }
for _ in $(seq 1800); do
  answers "$metrics/healthz" && answers "$set_metrics/metrics" && exit 0
  sleep 0.1
done
echo "Argo CD's controllers did not answer; see $dir" >&2
tail -n 3 controller.log applicationset.log >&2
exit 1
