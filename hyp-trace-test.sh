#!/usr/bin/env bash
# usage: hyp-trace-test.sh [--list] [--quick] [DIRECTORY]
#
# The kernel's kselftest for hypervisor tracing, and what it leaves untested. Runs on a simulated
# or a real hypervisor/ directory: DIRECTORY, or else the one that the kernel's tracefs shows.
# Prints TAP; ends with 0 when every test passes. --quick leaves out the test that takes 100 s.
#
# No test has a tolerance. What takes time is awaited, with a limit; never slept for.
set -uo pipefail

# As in the kernel's test, in its order: the first five. The others are ours.
ALL_TESTS=(
  reset unloading big_buffer timestamps extended_timestamps
  per_cpu_pipes lost_events trace_is_no_way_to_read trace_clock number_grammar event_enable
  several_readers
)
SLOW_TEST=extended_timestamps

BUFFER_SIZE_KB=16
LIMIT_S=5

# --- helpers ---------------------------------------------------------------------------------

fail() {
  echo "$*"
  exit 1
}

# The time as events show it, in µs. As the kernel's test has it: CLOCK_MONOTONIC, which is
# the hypervisor's CLOCK_BOOTTIME for as long as the machine was never suspended.
now_us() {
  awk '$1 == "now" { printf "%.0f\n", substr($3, 1, length($3) - 3); exit }' /proc/timer_list
}

page_size() { getconf PAGESIZE; }

all_off() {
  echo 0 > tracing_on
  echo 0 > trace
  local event
  for event in events/hypervisor/*; do echo 0 > "$event/enable"; done
}

setup() {
  all_off
  echo "$BUFFER_SIZE_KB" > buffer_size_kb
  echo 1 > events/hypervisor/selftest/enable
  echo 1 > tracing_on
}

# write_events N [COMMAND…]: N events, COMMAND in between.
write_events() {
  local i n=$1
  shift
  for ((i = 1; i <= n; i++)); do
    echo 1 > selftest_event
    if [ $# -gt 0 ] && [ "$i" -lt "$n" ]; then "$@"; fi
  done
}

# write_events_on CPU N: the same, all on one CPU.
write_events_on() {
  taskset -c "$1" bash -c 'for ((i = 0; i < $1; i++)); do echo 1 > selftest_event; done' - "$2"
}

# start_reader PIPE FILE: sets $reader. Whatever is started here ends with its test.
start_reader() {
  cat "$1" > "$2" &
  reader=$!
}

# await CONDITION…: until it holds, or fail after LIMIT_S.
await() {
  local deadline=$((SECONDS + LIMIT_S))
  until "$@"; do
    [ "$SECONDS" -le "$deadline" ] || fail "Waited ${LIMIT_S}s in vain for: $*"
    sleep 0.01
  done
}

has_lines() { [ "$(wc -l < "$1")" -ge "$2" ]; }

is_loaded() { grep -q '(loaded)' buffer_size_kb; }
assert_loaded() { is_loaded || fail 'Expected loaded buffer'; }
assert_unloaded() { ! is_loaded || fail 'Expected unloaded buffer'; }

# assert_text FILE TEXT: the whole of it.
assert_text() {
  local text
  text=$(cat "$1")
  [ "$text" = "$2" ] || fail "$1 is '$text', not '$2'"
}

# assert_fails MESSAGE COMMAND…: with that error of the system's.
assert_fails() {
  local expected=$1 output
  shift
  if output=$("$@" 2>&1); then fail "Succeeded: $*"; fi
  [[ $output == *"$expected"* ]] || fail "Expected '$expected' of: $* (got: $output)"
}

# put FILE TEXT: with printf's escapes, in one write(2); bash alone makes one for each line.
# shellcheck disable=SC2059 # the escapes are the point
put() { printf -- "$2" | dd of="$1" conv=notrunc bs=4k iflag=fullblock status=none; }

# Whether a line of FILE counts lost events, and not an event.
LOST_LINE='/^CPU:[0-9]+ \[LOST [0-9]+ EVENTS\]$/'

# validate FILE COUNT START END: COUNT events and nothing else, not before START, not after END,
# each not before the one above. Times in µs.
validate() {
  awk -v count="$2" -v start="$3" -v end="$4" '
    /^# / { next }
    {
      split($2, time, /[.:]/)
      us = time[1] * 1000000 + time[2]
      if (us < (events ? last : start)) { print "Error event @" $2 " < " (events ? last : start); bad = 1 }
      last = us
      events++
    }
    END {
      if (last > end) { print "Error event @" last " > " end; bad = 1 }
      if (events + 0 != count) { print "Expected " count " events, got " events + 0; bad = 1 }
      exit bad
    }' "$1" || exit 1
}

# The ids in FILE, a line each; nothing where events do not carry any.
ids_of() { sed -n 's/.* selftest id=\([0-9]*\)$/\1/p' "$1"; }

# --- the kernel's tests ----------------------------------------------------------------------

test_reset() {
  setup
  write_events 5
  echo 0 > trace
  write_events 5
  start_reader trace_pipe "$tmp/events"
  await has_lines "$tmp/events" 5
  echo 0 > tracing_on
  kill "$reader"
  validate "$tmp/events" 5 0 "$(now_us)"
}

test_unloading() {
  setup
  assert_loaded
  echo 0 > tracing_on
  assert_unloaded

  start_reader trace_pipe /dev/null
  await is_loaded
  kill "$reader"
  assert_unloaded

  echo 1 > tracing_on
  write_events 1
  echo 0 > trace
  assert_loaded
  echo 0 > tracing_on
  assert_unloaded
}

# So large that the hypervisor's records of the pages take more than a page.
test_big_buffer() {
  all_off
  local page cpus
  page=$(page_size)
  cpus=$(find per_cpu -mindepth 1 -maxdepth 1 | wc -l)
  echo $((page * page / (48 * cpus) * 2 / 1024)) > buffer_size_kb
  echo 1 > tracing_on
  assert_loaded
  echo 0 > tracing_on
}

# timestamps [COMMAND…]: 1000 events, COMMAND in between. When the stop has returned, the reader
# has been given them all; cat may need a moment to pass them on.
timestamps() {
  local start end
  setup
  start_reader trace_pipe "$tmp/events"
  start=$(now_us)
  write_events 1000 "$@"
  echo 0 > tracing_on
  end=$(now_us)
  await has_lines "$tmp/events" 1000
  kill "$reader"
  validate "$tmp/events" 1000 "$start" "$end"
}

test_timestamps() { timestamps; }

test_extended_timestamps() { timestamps sleep 0.1; }

# --- ours ------------------------------------------------------------------------------------

test_per_cpu_pipes() {
  local dir cpu tested=0
  setup
  for dir in per_cpu/cpu*; do
    cpu=${dir#per_cpu/cpu}
    taskset -c "$cpu" true 2> /dev/null || continue
    start_reader "$dir/trace_pipe" "$tmp/cpu$cpu"
    write_events_on "$cpu" 3
    await has_lines "$tmp/cpu$cpu" 3
    tested=$((tested + 1))
  done
  [ "$tested" -gt 0 ] || fail 'There is no CPU that a task can run on'
  echo 0 > tracing_on
  for dir in "$tmp"/cpu*; do
    validate "$dir" 3 0 "$(now_us)"
    if grep -v "^\[0*${dir#"$tmp"/cpu}\]" "$dir"; then fail 'An event of another CPU'; fi
  done
}

# More than fit: the oldest are lost, and every one of them is accounted for.
test_lost_events() {
  local written=2000 lost kept first
  setup
  write_events_on 0 "$written"
  echo 0 > tracing_on
  start_reader trace_pipe "$tmp/events"
  accounted_for() {
    awk "$LOST_LINE"' { sum += $3; next } { sum++ } END { exit sum != '"$written"' }' "$tmp/events"
  }
  await accounted_for
  kill "$reader"

  lost=$(awk "$LOST_LINE"' { print $3 }' "$tmp/events")
  kept=$(awk "$LOST_LINE"' { next } { n++ } END { print n }' "$tmp/events")
  [ "$(head -n 1 "$tmp/events")" = "CPU:0 [LOST $lost EVENTS]" ] || fail 'Not told first, or not once'
  [ "$lost" -gt 0 ] && [ $((lost + kept)) -eq "$written" ] || fail "$lost lost, $kept kept"

  first=$(ids_of "$tmp/events" | head -n 1)
  [ -n "$first" ] || return 0
  seq "$first" $((first + kept - 1)) | cmp - <(ids_of "$tmp/events") || fail 'The ids have a gap'
}

test_trace_is_no_way_to_read() {
  local file
  setup
  for file in trace per_cpu/cpu*/trace; do
    assert_fails 'Operation not permitted' cat "$file"
  done
}

test_trace_clock() {
  assert_text trace_clock '[boot]'
  assert_fails 'Invalid argument' put trace_clock 'mono\n'
  assert_text trace_clock '[boot]'
}

test_number_grammar() {
  local bad
  all_off
  echo 7 > buffer_size_kb
  for bad in '\n' ' 1' '1 ' '-1' '0x10' '1\n\n' '1.5' 'on' '1 0' '\0'; do
    assert_fails 'Invalid argument' put tracing_on "$bad"
    assert_fails 'Invalid argument' put buffer_size_kb "$bad"
  done
  assert_fails 'Invalid argument' put buffer_size_kb 0
  assert_fails 'Numerical result out of range' put tracing_on 18446744073709551616
  assert_fails 'Numerical result out of range' put buffer_size_kb 18446744073709551616
  assert_text tracing_on 0
  assert_text buffer_size_kb '7 (unloaded)'

  put buffer_size_kb '+8\n' && assert_text buffer_size_kb '8 (unloaded)'
  put buffer_size_kb '009' && assert_text buffer_size_kb '9 (unloaded)'
  put buffer_size_kb '10\0junk' && assert_text buffer_size_kb '10 (unloaded)'
  put tracing_on 2 && assert_text tracing_on 1
  put tracing_on '1\n' && assert_text tracing_on 1
  put tracing_on 00 && assert_text tracing_on 0
}

test_event_enable() {
  local enable=events/hypervisor/selftest/enable bad
  all_off
  for bad in 2 x ' 1' '1\n\n' '\n'; do assert_fails 'Invalid argument' put "$enable" "$bad"; done
  assert_text "$enable" 0
  put "$enable" '1\n' && assert_text "$enable" 1
  echo 1 > tracing_on
  echo 0 > tracing_on
  assert_text "$enable" 1 # It is the event's, and survives the buffer.
  put "$enable" 0 && assert_text "$enable" 0
}

# Each event goes to exactly one of them.
test_several_readers() {
  local n
  setup
  for n in 1 2 3; do start_reader trace_pipe "$tmp/reader$n"; done
  write_events 300
  echo 0 > tracing_on
  have_all() { [ "$(cat "$tmp"/reader* | wc -l)" -eq 300 ]; }
  await have_all
  for n in 1 2 3; do
    validate "$tmp/reader$n" "$(wc -l < "$tmp/reader$n")" 0 "$(now_us)"
  done
  [ -z "$(ids_of <(cat "$tmp"/reader*) | sort | uniq -d)" ] || fail 'An event was read twice'
}

# --- running them ----------------------------------------------------------------------------

# Runs one test in a shell and a directory of its own. Prints why it failed.
run_test() (
  tmp=$(mktemp -d) || exit 1
  # shellcheck disable=SC2046 # one pid a word
  trap 'set +e; kill $(jobs -p) 2> /dev/null; all_off; rm -rf "$tmp"' EXIT
  set -e
  "test_$1"
)

find_directory() {
  local dir
  for dir in /sys/kernel/debug/tracing/hypervisor /sys/kernel/tracing/hypervisor; do
    if [ -d "$dir" ]; then
      echo "$dir"
      return
    fi
  done
}

usage() {
  sed -n '2s/^# //p' "$0" >&2
  exit 64
}

main() {
  local directory='' tests=("${ALL_TESTS[@]}") arg
  for arg in "$@"; do
    case $arg in
      --list) printf '%s\n' "${ALL_TESTS[@]}" && exit 0 ;;
      --quick) tests=("${ALL_TESTS[@]/#$SLOW_TEST/}") ;;
      -*) usage ;;
      *) [ -z "$directory" ] && directory=$arg || usage ;;
    esac
  done
  directory=${directory:-$(find_directory)}
  if ! cd "${directory:-/nonexistent}" 2> /dev/null || [ ! -e tracing_on ]; then
    echo 'Bail out! hyp tracing folder not found!'
    exit 1
  fi
  if [ ! -r /proc/timer_list ]; then
    echo 'Bail out! /proc/timer_list cannot be read: run this as root'
    exit 1
  fi

  local test number=0 failures=0 why
  echo 'TAP version 13'
  echo "1..${#tests[@]}"
  for test in "${tests[@]}"; do
    number=$((number + 1))
    if [ -z "$test" ]; then
      echo "ok $number - $SLOW_TEST # SKIP takes 100 s"
    elif why=$(run_test "$test" 2>&1); then
      echo "ok $number - $test"
    else
      echo "not ok $number - $test"
      printf '%s\n' "${why:-no reason given}" | sed 's/^/# /'
      failures=$((failures + 1))
    fi
  done
  [ "$failures" -eq 0 ]
}

main "$@"
