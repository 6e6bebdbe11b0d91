#!/bin/bash
# What a container runs. Without command, or with "lab", JupyterLab on port 8888; else the command.
set -euo pipefail

prefix=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH=$prefix/bin:$prefix/cache/advlab/python/bin:$PATH
# Copies to work on, unless the home volume has them from before.
if [[ -w $HOME && ! -e $HOME/notebooks && -d $prefix/src/notebooks ]]; then
    cp -R --no-preserve=mode "$prefix/src/notebooks" "$HOME/notebooks"
fi
case ${1:-lab} in
lab)
    shift || true
    cd "$HOME"
    exec python -m jupyterlab --no-browser --ip="${JUPYTER_IP:-0.0.0.0}" --port="${JUPYTER_PORT:-8888}" --port-retries=0 "$@"
    ;;
*)
    exec "$@"
    ;;
esac
