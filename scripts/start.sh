#!/usr/bin/env bash
# The main job: sets the machine up, mounts at ./tracing, shows around, and serves until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

mountpoint=$PWD/tracing
mkdir -p "$mountpoint"

exec {ready}< <(exec node dist/daemon/main.js mount "$mountpoint")
daemon=$!

finish() {
  local status=$?
  trap - EXIT
  trap '' INT TERM # A second Ctrl-C reaches the daemon itself.
  kill -TERM "$daemon" 2> /dev/null || true
  wait "$daemon" || status=$?
  rmdir "$mountpoint" 2> /dev/null || true
  exit "$status"
}
trap finish EXIT
trap 'exit 0' INT TERM

# Where the start fails, the daemon has said why.
read -r line <&"$ready" || exit 1
echo "$line"
scripts/tour.sh "$mountpoint/hypervisor"
echo
echo "Serving $mountpoint/hypervisor. Try it from another shell; Ctrl-C ends it."
wait "$daemon"
