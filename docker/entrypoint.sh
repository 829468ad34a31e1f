#!/bin/sh
# numba reads compiled kernels only from where it may write, and the image's own files are read-only.
set -eu
rm -rf "$NUMBA_CACHE_DIR"
cp -R /opt/solver-service/kernels "$NUMBA_CACHE_DIR"
exec "$@"
