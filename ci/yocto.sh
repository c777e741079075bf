#!/bin/sh
# Build the whole image from source with Yocto (hours without shared state), let testimage boot and test it, and run the
# lab on it. It takes a host with a network, 100 GB of disk, and a user other than root.
#
#   ci/yocto.sh                  with Yocto's own shared state (kas/yocto/opt/mirrors.yml)
#   YOCTO_OPTIONS= ci/yocto.sh   without
#
# This has never been run to its end: the machines of this project do not reach the sources (docs/feeds.md).
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" != 0 ] || { echo "ci/yocto.sh: BitBake refuses root: run this as another user" >&2; exit 2; }
manifest=kas/yocto/qemu.yml${YOCTO_OPTIONS-:kas/yocto/opt/mirrors.yml}:kas/yocto/opt/testimage.yml
export KAS_WORK_DIR="$PWD/build/yocto"
mkdir -p "$KAS_WORK_DIR"

tools/bootstrap --no-apt
.venv/bin/kas build "$manifest" || exit 10
export LG_DEPLOY="$KAS_WORK_DIR/build/tmp/deploy/tzml"
exec ci/lab.sh qemu
