#!/bin/bash
# Lints the Dockerfile and the shell scripts with pinned linters, in a throw-away Python environment.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${ADVLAB_PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r lint.lock
"$work/env/bin/hadolint" Dockerfile
"$work/env/bin/shellcheck" ./*.sh ../kernel/internal/setup/python/lock.sh
echo "lint.sh: nothing to complain about"
