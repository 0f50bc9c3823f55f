"""A round: some operations one after the other, by a process of its own."""
import collections
import errno
import json
import os
import signal
import sys
import time

import descriptors
import paths
from actor import Actor
from board import boards
from child import BlockedChild, Failure
from operation import OPERATIONS

#: What they have entered is in OPERATIONS.
KINDS = (descriptors, paths)
CHILDREN = 6
IN_CHILD = 0.08
BLOCKED_S = 0.02


class Interrupted(Exception):
    """The operation waited, and was interrupted by a handled signal."""


class Round:
    def __init__(self, tree, seed, board, without, also, shared):
        self.seed, self.board, self.shared = seed, board, shared
        self.actor = Actor(tree, board.add)
        self.children = []
        self.waiting = False
        self.boards = boards(CHILDREN + 1)
        self.counts = collections.Counter()
        self.operations = [
            each
            for name, each in sorted(OPERATIONS.items())
            if name not in without and (not each.off_by_default or name in also)
        ]
        self.weights = [each.weight for each in self.operations]

    def run(self, numbers):
        signal.signal(signal.SIGALRM, self.interrupt)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for ignored in (signal.SIGIO, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_IGN)
        try:
            for number in numbers:
                self.step(number)
            while self.children:
                self.end_child()
            self.board.begin(self.board.number, time.monotonic(), 'close')
            self.actor.close()
        except OSError as error:
            print(f'operation {self.board.number}: {error}', file=sys.stderr, flush=True)
            return 1
        except Failure as failure:
            print(f'operation {self.board.number}: {failure}', file=sys.stderr, flush=True)
            return 1
        return 0

    def step(self, number):
        actor = self.actor
        actor.begin(self.seed, number)
        [what] = actor.random.choices(self.operations, self.weights)
        self.board.begin(number, time.monotonic(), what.name)
        if what.only_in_child or (what.may_block and actor.chance(IN_CHILD)):
            self.start_child(what)
        else:
            self.counts[f'{what.name} {self.in_person(what)}'] += 1
        if self.children and (len(self.children) == CHILDREN or actor.chance(0.1)):
            self.end_child()

    def in_person(self, what):
        """What waits is interrupted."""
        try:
            self.waiting = True
            signal.setitimer(signal.ITIMER_REAL, BLOCKED_S, BLOCKED_S)
            return self.attempt(what)
        except Interrupted:
            return 'waited'
        finally:
            self.waiting = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def attempt(self, what):
        try:
            what.run(self.actor)
            return 'ok'
        except OSError as error:
            return errno.errorcode.get(error.errno, error.errno)
        except (ValueError, OverflowError) as error:
            return type(error).__name__

    def interrupt(self, *_):
        if self.waiting:
            self.waiting = False
            raise Interrupted

    def start_child(self, what):
        used = [child.board for child in self.children]
        board = next(each for each in self.boards if each not in used)
        board.begin(self.board.number, time.monotonic(), what.name)
        mine = self.actor

        def run():
            mine.alone = not self.shared
            mine.note = board.add
            mine.waits = mine.chance(0.7)
            what.run(mine)

        self.children.append(BlockedChild(run, board))
        self.counts[f'{what.name} in a child'] += 1

    def end_child(self):
        child = self.children.pop(0)
        self.board.begin(self.board.number, time.monotonic(), f'end a child in {child.board.text}')
        child.end(self.actor.random)

    def report(self, fd):
        os.write(fd, json.dumps(self.counts).encode())
