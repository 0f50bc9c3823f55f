#!/usr/bin/env bash
# usage: scripts/with-mount.sh [mount options] -- COMMAND…
#
# Runs COMMAND inside the hypervisor/ directory of a mount of its own, $TRACING being the mount.
# Ends as COMMAND does, or with 1 if the daemon fails, or leaves a mount or itself behind.
set -euo pipefail

options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  options+=("$1")
  shift
done
if [ $# -lt 2 ]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
  exit 64
fi
shift

main=$(cd "$(dirname "$0")/.." && pwd)/dist/daemon/main.js
TRACING=$(realpath "$(mktemp -d "${TMPDIR:-/tmp}/pkvm-tracefs.XXXXXX")")
export TRACING

exec {ready}< <(exec node "$main" mount "$TRACING" "${options[@]}")
daemon=$!

# What a failed start, a Ctrl-C and the end have in common. Keeps the status of what came before.
finish() {
  local status=$?
  trap - EXIT
  kill -TERM "$daemon" 2> /dev/null || true
  wait "$daemon" || status=1
  if grep -q " $TRACING " /proc/self/mounts; then
    echo "with-mount: $TRACING is still mounted" >&2
    status=1
  fi
  rmdir "$TRACING" || status=1
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

read -r line <&"$ready" || exit 1
[ "$line" = "ready $TRACING" ] || exit 1

cd "$TRACING/hypervisor"
status=0
"$@" || status=$?
cd /
exit "$status"
