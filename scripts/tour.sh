#!/usr/bin/env bash
# usage: scripts/tour.sh DIRECTORY
#
# A walk through hypervisor/: real commands in a real shell, each above what it printed. Leaves
# the directory as it found it.
set -euo pipefail
cd "$1"

# Prints a command, runs it, and goes on if it fails: that may be the point.
show() {
  printf '\n$ %s\n' "$1"
  bash -c "$1" 2>&1 || true
}

show 'ls'
show 'cat buffer_size_kb tracing_on trace_clock'
show 'echo 1 > events/hypervisor/hyp_enter/enable'
show 'echo 1 > events/hypervisor/hyp_exit/enable'
show 'echo 1 > tracing_on'
show 'cat buffer_size_kb'
show 'timeout 0.5 cat trace_pipe | head -n 8'
show 'cat per_cpu/cpu0/stats'
show 'echo 0 > events/enable; echo > trace'
show 'echo 1 > events/hypervisor/selftest/enable; echo 1 > selftest_event; echo 1 > selftest_event'
show 'timeout 0.5 cat trace_pipe'
show 'cat trace'
show 'echo maybe > tracing_on'
show 'echo 0 > events/enable; echo 0 > tracing_on; cat buffer_size_kb'
