#!/usr/bin/env bash
# usage: advance.sh TIME
#
# What trace-cmd records: lets virtual time go by once its recorders are there. They look whether the
# recording is over before they look for events, so a command that takes no time records nothing.
set -euo pipefail
tracing=/sys/kernel/tracing
cpus=$(find "$tracing/per_cpu" -maxdepth 1 -name 'cpu*' | wc -l)
# The simulator's files have these names in a mount namespace of its own.
namespace=$(readlink /proc/self/ns/mnt | sed 's/[][]/\\&/g')
here() { find /proc/[0-9]*/ns/mnt -lname "$namespace" 2> /dev/null | sed 's|ns/mnt$|fd|'; }
recorders() { find $(here) -lname '*/trace_pipe_raw' 2> /dev/null | wc -l; }
deadline=$((SECONDS + 10))
until [ "$(recorders)" -ge "$cpus" ] || [ "$SECONDS" -gt "$deadline" ]; do sleep 0.02; done
echo "advance $1" > "$tracing/sim/clock"
