#!/bin/sh
# Makes requirements.lock and plugin.lock again: exact versions and SHA-256 of every file, for Python 3.10 and later on
# every platform. Needs uv (https://docs.astral.sh/uv/). UPGRADE=1 takes the newest versions; without it the versions
# already locked stay where they still fit.
set -eu
cd "$(dirname "$0")"
for name in requirements plugin; do
    uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-emit-find-links \
        ${UPGRADE:+--upgrade} --custom-compile-command "kernel/internal/setup/python/lock.sh" \
        --output-file "$name.lock" "$name.in"
done
