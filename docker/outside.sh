#!/bin/bash
# Executes the image's own steps where there is no Docker engine: build.sh into a temporary prefix, then check.sh on it.
# It takes some minutes, since the prefix has a build cache of its own.
#
#   docker/outside.sh [NOTEBOOK...]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/advlab-image-XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
chmod 755 "$work"
# What this machine has downloaded already is not downloaded again.
GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
export GOPROXY GOCACHE=$work/build-cache
# The system's Python, as in the image: one that lies in root's home could not be run by the image's user.
if [[ -z ${ADVLAB_PYTHON:-} ]] && /usr/bin/python3 -c 'import ensurepip, venv' 2> /dev/null; then
    export ADVLAB_PYTHON=/usr/bin/python3
fi
start=$SECONDS
"$here/build.sh" "$work/opt"
echo "outside.sh: built in $((SECONDS - start)) s"
start=$SECONDS
# The copy in the prefix, since the image's user may not be allowed to read the checkout.
cd "$work"
"$work/opt/src/docker/check.sh" "$work/opt" "$@"
echo "outside.sh: checked in $((SECONDS - start)) s"
