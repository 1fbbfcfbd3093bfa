#!/usr/bin/env bash
# Starts a real Gitea on loopback with one user `ops`, and prints its URL and an access token (about 3 s, 165 MB).
#   gitea-up.sh BIN DIR      BIN holds gitea and gitea-static (setup.sh)
# Stop it with the id in DIR/gitea.pid; after an hour it stops by itself.
set -eu
bin=$1 dir=$2
mkdir -p "$dir/data"
cd "$dir"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > app.ini <<INI
RUN_USER = $(id -un)
WORK_PATH = $dir
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = $port
ROOT_URL = http://127.0.0.1:$port/
DISABLE_SSH = true
OFFLINE_MODE = true
STATIC_ROOT_PATH = $bin/gitea-static
APP_DATA_PATH = $dir/data
[database]
DB_TYPE = sqlite3
PATH = $dir/data/gitea.db
[repository]
ROOT = $dir/data/repos
[security]
INSTALL_LOCK = true
[service]
DISABLE_REGISTRATION = true
[actions]
ENABLED = false
[log]
LEVEL = Warn
INI
export GITEA_I_AM_BEING_UNSAFE_RUNNING_AS_ROOT=true
gitea() { "$bin/gitea" --config app.ini "$@"; }
gitea migrate > migrate.log 2>&1
gitea admin user create --username ops --password "$(openssl rand -hex 12)" --email ops@example.test \
  --admin --must-change-password=false > user.log 2>&1
token=$(gitea admin user generate-access-token --username ops --scopes all --raw 2> /dev/null | tail -n 1)
timeout -k 5 3600 "$bin/gitea" --config app.ini web > web.log 2>&1 &
echo $! > gitea.pid
for _ in $(seq 600); do
  curl -s --max-time 1 "http://127.0.0.1:$port/api/v1/version" > /dev/null 2>&1 && { echo "http://127.0.0.1:$port $token"; exit 0; }
  sleep 0.1
done
echo "gitea did not answer; see $dir/web.log" >&2
exit 1
