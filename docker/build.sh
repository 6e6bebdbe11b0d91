#!/bin/bash
# Prepares everything below one prefix, as the image has it: sources, Go modules, Python environment, plugin, tools,
# workspace, kernelspecs. The Dockerfile calls it; check.sh shows that the result works without network and read-only.
#
#   docker/build.sh PREFIX
#
# PREFIX must not exist or be empty. GOCACHE, if set, is where the warm build cache goes: unlike the rest it has to be
# writable for who runs the image. pip's and Go's own settings (mirrors, proxies) are honoured.
set -euo pipefail

prefix=${1:?usage: docker/build.sh PREFIX}
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ $prefix != /* ]]; then
    echo "build.sh: $prefix is not an absolute path" >&2
    exit 2
fi
if [[ -d $prefix && -n $(ls -A "$prefix") ]]; then
    echo "build.sh: $prefix is not empty" >&2
    exit 2
fi
umask 022
mkdir -p "$prefix/src"

# Only what the kernel and the notebooks need, not the history.
for part in go.mod go.sum LICENSE README.md advlib kernel notebooks docker; do
    if [[ -e $source/$part ]]; then
        cp -R "$source/$part" "$prefix/src/"
    fi
done

export GOMODCACHE=$prefix/modules GOCACHE=${GOCACHE:-$prefix/build-cache}
# The set-up's place without ADVLAB_CACHE, which would become that of the users' models and results too.
export XDG_CACHE_HOME=$prefix/cache
unset ADVLAB_CACHE
cd "$prefix/src"
go run ./kernel setup
go run ./kernel install --prefix "$prefix/cache/advlab/python"
programs=("$prefix"/cache/advlab/workspace/*/bin/advlab)
mkdir -p "$prefix/bin"
ln -s "${programs[0]}" "$prefix/bin/advlab"

# Go needs the modules' unpacked files and their versions, not the archives they came in.
find "$prefix/modules/cache/download" -name '*.zip' -delete
rm -rf "$prefix/modules/cache/download/sumdb" "$prefix/modules/cache/vcs" "$prefix/cache/advlab/log" "$prefix/cache/advlab/setup.lock" "$prefix/cache/pip"
# Everyone may read, nobody but the owner may write.
chmod -R a+rX,go-w "$prefix"
echo "build.sh: $prefix holds $(du -sh "$prefix" | cut -f1)"
