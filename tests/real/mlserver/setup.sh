#!/bin/sh
# A virtual environment with MLServer, and two digit models for it: a good one and a weak one. Does nothing when it is there.
# usage: setup.sh DIR
set -eu
dir=$1
here=$(cd "$(dirname "$0")" && pwd)
stamp=$dir/ready-3
[ -e "$stamp" ] && exit 0
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "installing python3-venv" >&2
    apt-get update -qq && apt-get install -y -qq python3-venv
fi
rm -rf "$dir"
mkdir -p "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check mlserver==1.7.1 mlserver-sklearn==1.7.1 scikit-learn==1.9.1
"$dir/venv/bin/python" "$here/train.py" "$dir/models"
touch "$stamp"
