#!/usr/bin/env bash
# Looks for errors of memory in the FUSE binding's C code: runs tests of the mount with AddressSanitizer, and a
# daemon's whole life with valgrind. Takes some minutes, gcc's libasan and valgrind; builds the binding anew.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

binding=node_modules/fuse-native
work=$(mktemp -d)
# The next set-up builds the binding as it should be.
trap 'rm -rf "$work" node_modules/.setup-fuse-native; scripts/setup.sh' EXIT

say() { printf '\n== %s\n' "$*"; }

say AddressSanitizer
prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
CFLAGS='-fsanitize=address -fno-omit-frame-pointer' LDFLAGS='-fsanitize=address' \
  npx --no-install node-gyp rebuild -C "$binding" --silent --nodedir="$prefix"
# Node leaves much to its end, so leaks are for valgrind. Each process writes a report only of what it found.
export ASAN_OPTIONS="detect_leaks=0:log_path=$work/asan"
# A test that only is too slow fails as well; what counts here is what AddressSanitizer says.
LD_PRELOAD=$(gcc -print-file-name=libasan.so) npx --no-install vitest run --project mount \
  test/mount/{door,raw,readers,rights,shell,sim}.test.ts || say 'some tests have failed'
if compgen -G "$work/asan*" > /dev/null; then
  cat "$work"/asan*
  exit 1
fi
unset ASAN_OPTIONS

say valgrind
rm node_modules/.setup-fuse-native
scripts/setup.sh
mkdir "$work/mount"
valgrind --log-file="$work/valgrind" --leak-check=full --show-leak-kinds=definite,indirect --num-callers=20 \
  --smc-check=all-non-file node --jitless dist/daemon/main.js mount "$work/mount" --cpus 1 --rate 0 \
  --log-level fatal > "$work/ready" &
daemon=$!
until grep -q ready "$work/ready"; do
  kill -0 "$daemon"
  sleep 0.2
done
(
  cd "$work/mount/hypervisor"
  echo 1 > events/hypervisor/selftest/enable
  echo 1 > tracing_on
  timeout 5 cat trace_pipe & reader=$!
  for n in 1 2 3; do echo "$n" > selftest_event; done
  ls -lR .. > /dev/null
  python3 -c 'import select; poll = select.poll(); poll.register(open("trace_pipe")); poll.poll(100)'
  mkdir new 2> /dev/null || true
  wait "$reader" || true
)
cat "$work/mount/hypervisor/trace_pipe" & # It still waits when the file system goes.
until grep -q request_wait_answer "/proc/$!/wchan"; do sleep 0.1; done
kill -TERM "$daemon"
wait "$daemon" || true # It is so slow that it may be late for its own limit.
# A record that has a frame of ours is an error of ours.
if grep -B 20 'session\.c' "$work/valgrind"; then exit 1; fi
echo 'valgrind has found nothing in the binding'
