#!/usr/bin/env bash
# usage: npm run fuzz -- [syscalls|contents|mount] [--ops N] [--seed N] [--first N] [--without NAMES] […]
#
# Runs one of the fuzzers, or all three: system calls against a mount, what is written to each file
# and read as a scenario, and that through a mount, of which a hundredth of the operations.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-}" in
  syscalls) exec python3 test/fuzz/syscalls/fuzz.py "${@:2}" ;;
  contents) exec test/fuzz/contents/fuzz.sh "${@:2}" ;;
  mount) exec test/fuzz/contents/fuzz.sh --mount "${@:2}" ;;
esac

ops=20000 seed=1
while [ $# -gt 0 ]; do
  case "$1" in
    --ops) ops=$2 ;;
    --seed) seed=$2 ;;
    *)
      sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
      exit 64
      ;;
  esac
  shift 2
done
"$0" syscalls --ops "$ops" --seed "$seed"
"$0" contents --ops "$ops" --seed "$seed"
"$0" mount --ops $((ops / 100)) --seed "$seed"
