#!/bin/sh
# usage: in-namespace.sh UNSHARE NODE MOUNTS N SOURCE TARGET … COMMAND…
#
# Runs COMMAND with N files and directories covered by others, and /proc/mounts by MOUNTS. It has to be
# started in a mount namespace of its own, by a process that answers on file descriptor 3.
#
# COMMAND gets a user namespace besides, and a copy of the mounts (UNSHARE is -Um, or -Urm for a plain
# user). There root has its rights over tmpfs, FUSE and bind mounts, but can mount no tracefs or debugfs,
# and the kernel lets nobody lift the covers. Our starter maps the users and groups, then says so.
set -eu
inner=$1 node=$2 mounts=$3 covers=$4
shift 4
while [ "$covers" -gt 0 ]; do
  mount --bind "$1" "$2"
  shift 2
  covers=$((covers - 1))
done
"$node" "${0%/*}/bind-over-link.mjs" "$mounts" /proc/mounts
# A directory of the host's tracefs is left for the one that covers it.
cd -- "$PWD" 2> /dev/null || cd /
exec unshare "$inner" -- sh -c 'echo >&3; read -r _ <&3 || exit; exec 3>&-; exec "$@"' sh "$@"
