#!/bin/sh
# A virtual environment with MLflow's tracking server and model registry, without what only training needs. Does nothing when it is
# there. usage: setup.sh DIR
set -eu
dir=$1
stamp=$dir/ready-1
[ -e "$stamp" ] && exit 0
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "installing python3-venv" >&2
    apt-get update -qq && apt-get install -y -qq python3-venv
fi
rm -rf "$dir"
mkdir -p "$dir"
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
    mlflow-skinny==2.22.5 flask==3.1.3 sqlalchemy==2.0.58 alembic==1.20.1 graphene==3.4.3 gunicorn==27.0.1
touch "$stamp"
