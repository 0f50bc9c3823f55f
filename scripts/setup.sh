#!/usr/bin/env bash
# Brings a fresh machine to where the build runs: system packages, npm packages, the patched FUSE
# binding, the build. Does nothing, quickly, where nothing is missing. With --tests also what only
# the tests use.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=no
[ "${1:-}" != --tests ] || tests=yes

say() { echo "setup: $*" >&2; }

# Which Debian package brings what; the first name that apt knows is taken.
missing_packages() {
  # Not by a pipe: a grep that ends at the first match lets the program before it fail.
  grep -q 'libfuse\.so\.2 ' <<< "$(ldconfig -p)" || echo 'libfuse2|libfuse2t64'
  command -v fusermount > /dev/null || echo 'fuse|fuse3'
  command -v make > /dev/null || echo make
  command -v g++ > /dev/null || echo g++
  command -v python3 > /dev/null || echo python3
  if [ "$tests" = yes ]; then
    command -v busybox > /dev/null || echo busybox
    command -v trace-cmd > /dev/null || echo trace-cmd
  fi
}

apt_name() {
  local name
  for name in ${1//|/ }; do
    if apt-cache show "$name" > /dev/null 2>&1; then
      echo "$name"
      return
    fi
  done
  echo "${1%%|*}"
}

install_packages() {
  local wanted=() name
  mapfile -t wanted < <(missing_packages)
  [ ${#wanted[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
    say "missing packages: ${wanted[*]%%|*} (install them, or run this as root on Debian or Ubuntu)"
    exit 69
  fi
  say "installing ${wanted[*]%%|*}"
  apt-get update -qq
  local names=()
  for name in "${wanted[@]}"; do names+=("$(apt_name "$name")"); done
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${names[@]}" > /dev/null
}

# Runs "$3…" when the files that "$2" lists differ from those of the stamp's last run.
once_for() {
  local stamp=$1 inputs=$2 now
  shift 2
  # shellcheck disable=SC2086 # a list of files
  now=$(node --version; cat $inputs | sha256sum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then return; fi
  rm -f "$stamp"
  "$@"
  echo "$now" > "$stamp"
}

# npm may be told not to run install scripts, so nothing depends on them.
install_modules() {
  say 'installing npm packages'
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
}

build_fuse_native() {
  say 'patching and building fuse-native'
  npx --no-install patch-package > /dev/null
  local log
  if ! log=$(npx --no-install node-gyp rebuild -C node_modules/fuse-native "$(node_headers)" 2>&1); then
    echo "$log" >&2
    say 'fuse-native did not compile: it takes g++, make and python3'
    exit 69
  fi
}

# The headers that came with this node, or else node-gyp fetches them.
node_headers() {
  local prefix
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  if [ -f "$prefix/include/node/node_api.h" ]; then echo "--nodedir=$prefix"; else echo --; fi
}

build() {
  say 'building'
  npm run --silent build
}

install_packages
# A patch applies to a fresh package only.
once_for node_modules/.setup-modules "package-lock.json $(echo patches/*)" install_modules
once_for node_modules/.setup-fuse-native node_modules/.setup-modules build_fuse_native
once_for node_modules/.setup-build \
  "$(find src -name '*.ts' | sort | tr '\n' ' ') tsconfig.json scripts/build.sh node_modules/.setup-modules" build
