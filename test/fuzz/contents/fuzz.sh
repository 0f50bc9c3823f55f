#!/bin/sh
# usage: fuzz.sh [options of fuzz.ts]
cd "$(dirname "$0")/../../.." || exit
exec node --expose-gc --import ./scripts/tsx-register.mjs test/fuzz/contents/fuzz.ts "$@"
