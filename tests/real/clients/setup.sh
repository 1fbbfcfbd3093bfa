#!/bin/sh
# Real clients and servers for the tests: a virtual environment with the openai and websockets packages, the llama.cpp server and a
# model of 496 KB with random weights for it; curl and h2load from the system's packages. Does nothing when they are there.
# The gRPC client runs in MLServer's environment, which brings grpcio and the stubs. usage: setup.sh DIR
set -eu
dir=$1
here=$(cd "$(dirname "$0")" && pwd)
missing=
command -v curl >/dev/null || missing="$missing curl"
command -v h2load >/dev/null || missing="$missing nghttp2-client"
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    echo "installing$missing" >&2
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq $missing
fi
stamp=$dir/ready-1
[ -e "$stamp" ] && exit 0
rm -rf "$dir"
mkdir -p "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    openai==3.57.0 websockets==17.4 xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6
"$dir/venv/bin/python" "$here/tiny_model.py" "$dir/tiny.gguf" 7
touch "$stamp"
