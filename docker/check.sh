#!/bin/bash
# Checks a prefix that build.sh has made, as the image's user sees it: not as root, with an empty home, without network
# where the machine allows that. The server starts and is healthy; a notebook runs; nothing below the prefix changes.
#
#   docker/check.sh PREFIX [NOTEBOOK...]
set -euo pipefail

prefix=${1:?usage: docker/check.sh PREFIX [NOTEBOOK...]}
shift
if [[ $(id -u) == 0 ]]; then
    # The build cache is the one thing that the user writes to besides the home.
    if [[ -n ${GOCACHE:-} ]]; then
        chown -R 1000:100 "$GOCACHE"
    fi
    if ! setpriv --reuid=1000 --regid=100 --clear-groups "$prefix/cache/advlab/python/bin/python" -c '' 2> /dev/null; then
        echo "check.sh: uid 1000 cannot run $(readlink -f "$prefix/cache/advlab/python/bin/python"): build with ADVLAB_PYTHON set to a Python for everyone" >&2
        exit 1
    fi
    exec setpriv --reuid=1000 --regid=100 --clear-groups --no-new-privs "$0" "$prefix" "$@"
fi
if [[ -z ${ADVLAB_CHECK_ISOLATED:-} ]]; then
    export ADVLAB_CHECK_ISOLATED=1
    # Only the root of a user namespace may raise the loopback interface, and JupyterLab refuses to run as root: hence two.
    back=(unshare --user --map-user="$(id -u)" --map-group="$(id -g)")
    if command -v ip > /dev/null && unshare --user --map-root-user --net "${back[@]}" true 2> /dev/null; then
        # shellcheck disable=SC2016 # expanded inside
        exec unshare --user --map-root-user --net bash -c 'ip link set lo up && exec "$@"' check.sh "${back[@]}" "$0" "$prefix" "$@"
    fi
    echo "check.sh: this machine refuses a network namespace; GOPROXY=off and ADVLAB_OFFLINE=1 have to do" >&2
fi

notebooks=("$@")
if [[ ${#notebooks[@]} == 0 ]]; then
    notebooks=("$prefix"/src/kernel/testdata/notebooks/good.ipynb)
fi
HOME=$(mktemp -d)
export HOME GOMODCACHE=$prefix/modules GOCACHE=${GOCACHE:-$prefix/build-cache} GOTOOLCHAIN=local GOPROXY=off ADVLAB_OFFLINE=1
unset ADVLAB_CACHE ADVLAB_PYTHON XDG_CACHE_HOME XDG_DATA_HOME JUPYTER_DATA_DIR JUPYTER_RUNTIME_DIR VIRTUAL_ENV PJRT_PLUGIN_LIBRARY_PATH
cd "$HOME"
listing() { find "$prefix" -path "$GOCACHE" -prune -o -printf '%p %s %T@\n' | sort; }
before=$(listing)

JUPYTER_IP=127.0.0.1 JUPYTER_PORT=$((20000 + RANDOM % 10000)) "$prefix/src/docker/start.sh" lab > server.log 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$HOME"' EXIT
for _ in $(seq 60); do
    if health=$("$prefix/cache/advlab/python/bin/python" "$prefix/src/docker/healthcheck.py" 2>&1); then
        break
    fi
    kill -0 "$server" 2>/dev/null || { cat server.log >&2; exit 1; }
    sleep 1
done
if ! "$prefix/cache/advlab/python/bin/python" "$prefix/src/docker/healthcheck.py"; then
    echo "check.sh: the server is not healthy: $health" >&2
    cat server.log >&2
    exit 1
fi
"$prefix/bin/advlab" run "${notebooks[@]}"
kill "$server"
wait "$server" || true
if "$prefix/cache/advlab/python/bin/python" "$prefix/src/docker/healthcheck.py" > /dev/null 2>&1; then
    echo "check.sh: the health check is content without a server" >&2
    exit 1
fi
if ! diff <(echo "$before") <(listing) > changes; then
    echo "check.sh: files below $prefix have changed:" >&2
    head -20 changes >&2
    exit 1
fi
echo "check.sh: healthy, ${#notebooks[@]} notebook(s) executed, nothing below $prefix has changed"
