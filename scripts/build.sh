#!/usr/bin/env bash
# Makes dist/: the program, and what a pCPU's thread runs. Two files and what they share, as a start that has
# to find and read a hundred modules in each of its threads takes 150 ms longer.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf dist

# What is for Node to find at run time: the binding, and what only `run --perfetto` takes.
external=(--external:fuse-native --external:protobufjs)
# Chunks lie beside the program, so that both find scenarios/ and scripts/ by the same path as the sources do.
# Packages made for require() find one.
npx --no-install esbuild src/daemon/main.ts src/host-sim/pcpu-worker.ts \
  --bundle --splitting --format=esm --platform=node --target=node20 \
  "${external[@]}" --outbase=src --outdir=dist --chunk-names='daemon/[name]-[hash]' \
  --banner:js="import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" \
  --log-level=warning
chmod +x dist/daemon/main.js
