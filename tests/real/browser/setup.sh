#!/bin/sh
# Chromium and its driver, from the system's packages. Does nothing when they are there.
set -eu
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
    echo "installing chromium" >&2
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends chromium chromium-driver
fi
