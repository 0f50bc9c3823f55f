#!/usr/bin/env python3
"""A fuzzer of system calls against a mount of its own.

Several processes make operations that follow from the seed and from their numbers alone. At the
end the daemon lives and has said nothing; its memory and its descriptors are what they were; and
no process was in a call that SIGTERM did not end.
"""
import argparse
import collections
import json
import os
import signal
import sys
import time

from actor import Tree
from board import Board
from child import END_S, Failure, ended, fork, whereabouts
from daemon import Answers, Daemon
from operation import OPERATIONS
from round import Round

#: What reads through the page cache, where a read that waits is out of reach of most signals.
PAGE_CACHE = {'copy_file_range', 'exec', 'fadvise', 'mmap', 'readahead', 'sendfile', 'splice'}
ROUND = 500
#: Only errors are logged: that the clock is off is a fault of a busy host, and not of the daemon.
MOUNT = '--cpus 2 --memory 32 --scenario boot --rate 2000 --log-level error'.split()
STALL_S = 20
ANSWER_S = 15
SETTLED_S = 10
#: What the daemon's heap may be more than after the first quarter.
GROWTH_MIB = 64


class Running:
    """A round in its process."""

    def __init__(self, tree, args, numbers):
        self.board = Board()
        self.board.begin(numbers[0], time.monotonic(), 'start')
        reading, writing = os.pipe()
        self._report = reading

        def run():
            a_round = Round(tree, args.seed, self.board, args.without, args.also, args.shared)
            status = a_round.run(numbers)
            a_round.report(writing)
            return status

        self.pid = fork(run)
        self.pidfd = os.pidfd_open(self.pid)
        os.close(writing)

    def finish(self):
        """Its counts; None as long as it runs."""
        if not ended(self.pidfd, 0):
            if time.monotonic() - self.board.since > STALL_S:
                self._stalled()
            return None
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        with os.fdopen(self._report) as report:
            text = report.read()
        if status != 0:
            raise Failure(f'a round ended with status {status} at operation {self.board.number}')
        return json.loads(text)

    def _stalled(self):
        there, what = whereabouts(self.pid), self.board.text
        signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
        term = 'SIGTERM ends it' if ended(self.pidfd, END_S) else 'SIGTERM does not end it'
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        kill = '' if ended(self.pidfd, END_S) else ', nor does SIGKILL'
        number = self.board.number
        raise Failure(f'operation {number}, {what!r}, does not return: {there}; {term}{kill}')


def fuzz(daemon, args, counts):
    tree = Tree(daemon.dir)
    answers = Answers(daemon)
    answers.start()
    rounds = [range(n, min(n + ROUND, args.ops)) for n in range(args.first, args.ops, ROUND)]
    total = len(rounds)
    running, warm, highest = [], None, 0
    while rounds or running:
        while rounds and len(running) < args.processes:
            running.append(Running(tree, args, rounds.pop(0)))
        time.sleep(0.02)
        daemon.check_alive()
        for each in list(running):
            result = each.finish()
            daemon.check_alive()
            if result is not None:
                counts.update(result)
                running.remove(each)
        if answers.longest > ANSWER_S:
            raise Failure(f'{answers.file} took {answers.longest:.1f} s to answer')
        if warm is None and len(rounds) <= total * 3 / 4:
            warm = daemon.rss_mib
        highest = max(highest, daemon.rss_mib)
    return warm, highest, answers


def check_leftovers(daemon, descriptors):
    daemon.settle()
    deadline = time.monotonic() + SETTLED_S
    while '(unloaded)' not in (state := daemon.get('hypervisor/buffer_size_kb')):
        if time.monotonic() > deadline:
            raise Failure(f'a reader is left: {state.strip()}')
        time.sleep(0.05)
    if daemon.descriptors > descriptors:
        raise Failure(f'{daemon.descriptors} descriptors in the daemon, {descriptors} at first')
    if daemon.logged():
        raise Failure(f'the daemon said: {daemon.logged()}')


def check(args, counts):
    """Returns what is to be said of a clean run."""
    daemon = Daemon([*MOUNT, *args.mount])
    started = time.monotonic()
    try:
        daemon.get('hypervisor/tracing_on')
        descriptors = daemon.descriptors
        warm, highest, answers = fuzz(daemon, args, counts)
        check_leftovers(daemon, descriptors)
        rss = daemon.rss_mib
        if highest > warm + GROWTH_MIB:
            raise Failure(f'memory grew: {warm} MiB after a quarter, {highest} MiB later')
    except BaseException:
        daemon.process.kill()
        daemon.stop()
        raise
    status = daemon.stop()
    if status != 0:
        raise Failure(f'the daemon ended with {status}')
    seconds = sorted(answers.seconds)
    return (
        f'{time.monotonic() - started:.1f} s; memory {warm} MiB after a quarter, {highest} at most, '
        f'{rss} at the end; control files answered in {seconds[-1] * 1000:.0f} ms at most, '
        f'{seconds[len(seconds) * 99 // 100] * 1000:.0f} ms in 99 of 100 cases'
    )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--ops', type=int, default=20_000, help='the number to end before')
    parser.add_argument('--first', type=int, default=0, help='the number to begin with')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--processes', type=int, default=6)
    parser.add_argument('--without', default='', help=f'page-cache, {", ".join(sorted(OPERATIONS))}')
    parser.add_argument('--renames', action='store_true', help='beside waiting readers, too')
    parser.add_argument('--shared', action='store_true', help='processes wait on one description')
    parser.add_argument('--counts', action='store_true', help='say how often what was answered')
    parser.add_argument('--mount', default='', help='more options of the mount')
    args = parser.parse_args()
    args.without = set(args.without.split(',')) - {''}
    if 'page-cache' in args.without:
        args.without = args.without - {'page-cache'} | PAGE_CACHE
    args.also = {'renames'} if args.renames else set()
    args.mount = args.mount.split()
    unknown = args.without - set(OPERATIONS)
    if unknown:
        parser.error(f'there is no operation {", ".join(unknown)}')
    return args


def stop(*_):
    raise SystemExit('syscalls: stopped')


def main():
    args = arguments()
    counts = collections.Counter()
    signal.signal(signal.SIGTERM, stop)
    try:
        said = check(args, counts)
    except Failure as failure:
        replay = ' '.join(sys.argv[1:])
        print(f'syscalls: {failure}\nagain: npm run fuzz -- syscalls {replay}', file=sys.stderr)
        return 1
    finally:
        if args.counts:
            for name, count in sorted(counts.items()):
                print(f'{count:8} {name}')
            print(f'{counts.total():8} in all')
    print(f'syscalls: {args.ops - args.first} operations of seed {args.seed}: clean; {said}')
    return 0


sys.exit(main())
