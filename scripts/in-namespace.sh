#!/bin/sh
# usage: in-namespace.sh TRACING COVERS COMMAND…
#
# Runs COMMAND where /sys/kernel/tracing is the tracefs at TRACING. To be run in a mount namespace of its
# own (unshare -m as root, unshare -Urm as anybody else), so that nobody else sees any of it.
#
# Tools look for a tracefs in /proc/mounts, by its type. A mount of ours has another; so it goes over the
# kernel's own, whose line stays, or else over a list of mounts that has such a line. What tools change
# or copy of the host besides is covered with the files in COVERS.
set -eu
tracing=$1
covers=$2
shift 2

cover() { [ ! -e "$2" ] || mount --bind "$covers/$1" "$2"; }
cover kallsyms /proc/kallsyms
cover ftrace_enabled /proc/sys/kernel/ftrace_enabled
cover kptr_restrict /proc/sys/kernel/kptr_restrict
cover cpus /sys/devices/system/cpu/possible
cover cpus /sys/devices/system/cpu/online

mounted() { awk '$3 == "tracefs" { print $2; exit }' /proc/mounts; }
[ -n "$(mounted)" ] || mount -t tracefs nodev /sys/kernel/tracing 2> /dev/null || true
at=$(mounted)
if [ -n "$at" ]; then
  mount --bind "$tracing" "$at"
else
  printf 'nodev %s tracefs rw 0 0\n' "$tracing" > "$covers/mounts"
  mount --bind "$covers/mounts" "/proc/$$/mounts" # An exec keeps the pid.
fi
# Others look nowhere else.
if [ "$at" != /sys/kernel/tracing ] && [ -d /sys/kernel/tracing ]; then
  mount --bind "$tracing" /sys/kernel/tracing
fi
exec "$@"
