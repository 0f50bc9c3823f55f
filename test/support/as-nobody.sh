#!/usr/bin/env bash
# usage: as-nobody.sh COMMAND…
#
# Runs COMMAND as a plain user where /dev/fuse is for everybody, as distributions have it, in a mount
# namespace of its own. Takes root.
set -euo pipefail
if [ -z "${AS_NOBODY_NAMESPACE:-}" ]; then
  AS_NOBODY_NAMESPACE=1 exec unshare -m --propagation private "$0" "$@"
fi
dev=$(mktemp -d)
mount -t tmpfs none "$dev"
mknod -m 0666 "$dev/fuse" c 10 229
mount --bind "$dev/fuse" /dev/fuse
umount -l "$dev"
rmdir "$dev"
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
