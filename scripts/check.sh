#!/usr/bin/env bash
# All that CI runs, in order; the first failure ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
  printf '\n== %s\n' "$*"
  "$@"
}

step scripts/setup.sh --tests
step npm run --silent lint
step npm run --silent typecheck
step npm run --silent test:unit
step npm run --silent test:mount
step npm run --silent test:fuzz
for scenario in boot io storm ffa hotplug; do
  step scripts/with-mount.sh --scenario "$scenario" -- "$PWD/hyp-trace-test.sh" --quick .
done
# The 100 s test runs last, on its own: what is in its way shows earlier.
step scripts/with-mount.sh -- "$PWD/hyp-trace-test.sh" .
