#!/usr/bin/env bash
# Starts etcd and a real kube-apiserver on loopback, with RBAC, and waits until it is ready (about 5 s, 300 MB). Whatever of it runs
# already in DIR is left alone, and what was stopped comes back on its old port: so a restart is `kill` and this again.
#   kube-up.sh BIN DIR      DIR takes data, logs, *.pid and kubeconfig, whose user is in system:masters
# Stop it with the ids in DIR/*.pid; after an hour it stops by itself.
set -eu
bin=$1 dir=$2
mkdir -p "$dir/etcd" "$dir/pki"
cd "$dir"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
runs() { [ -e "$1.pid" ] && kill -0 "$(cat "$1.pid")" 2>/dev/null; }
if [ ! -e ports ]; then
  echo "$(free_port) $(free_port) $(free_port)" > ports
  openssl genrsa -out pki/sa.key 2048 2>/dev/null
  openssl rsa -in pki/sa.key -pubout -out pki/sa.pub 2>/dev/null
  echo "$(openssl rand -hex 16),admin,admin,system:masters" > pki/tokens.csv
fi
read -r client peer api < ports
token=$(cut -d, -f1 pki/tokens.csv)

if ! runs etcd; then
  timeout -k 5 3600 "$bin/etcd" --data-dir etcd --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer" >> etcd.log 2>&1 &
  echo $! > etcd.pid
fi
if ! runs apiserver; then
  timeout -k 5 3600 "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$client" --bind-address 127.0.0.1 --secure-port "$api" \
    --cert-dir pki --service-account-key-file pki/sa.pub --service-account-signing-key-file pki/sa.key \
    --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.96.0.0/16 \
    --authorization-mode RBAC --token-auth-file pki/tokens.csv --shutdown-delay-duration 0s \
    --disable-admission-plugins ServiceAccount --endpoint-reconciler-type none >> apiserver.log 2>&1 &
  echo $! > apiserver.pid
fi

cat > kubeconfig <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$api", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
YAML
for _ in $(seq 1200); do
  [ "$(curl -sk --max-time 1 -H "Authorization: Bearer $token" "https://127.0.0.1:$api/readyz")" = ok ] && exit 0
  runs apiserver || break
  sleep 0.1
done
echo "the API server did not become ready; see $dir/apiserver.log" >&2
tail -3 apiserver.log >&2
exit 1
