"""Children in calls that may block, and their ends by signals."""
import os
import select
import signal
import time
import traceback

import libc

END_S = 10


class Failure(Exception):
    """What the fuzzer was looking for."""


def fork(run):
    """Runs a function in a child, which does not outlive its parent; returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        libc.call('prctl', libc.PR_SET_PDEATHSIG, int(signal.SIGKILL))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = run() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(pidfd, limit_s):
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(limit_s * 1000))


def whereabouts(pid):
    """The state of a process, and the kernel function that it waits in."""
    try:
        with open(f'/proc/{pid}/stat', encoding='latin1') as stat:
            state = stat.read().rpartition(')')[2].split()[0]
        with open(f'/proc/{pid}/wchan', encoding='latin1') as wchan:
            return f'state {state} in {wchan.read()}'
    except OSError as error:
        return str(error)


class BlockedChild:
    """A child in a call that it may wait in for ever, unless a signal ends it."""

    def __init__(self, run, board):
        self.board = board
        self.pid = fork(lambda: self._main(run))
        self._pidfd = os.pidfd_open(self.pid)

    def _main(self, run):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        try:
            run()
        except (OSError, ValueError, OverflowError):
            pass

    def end(self, random):
        how = random.random()
        if how < 0.15:
            self._signal(signal.SIGUSR1)
            time.sleep(random.random() * 0.005)
        elif how < 0.25:
            self._signal(signal.SIGSTOP)
            time.sleep(random.random() * 0.005)
            self._signal(signal.SIGCONT)
        last = signal.SIGKILL if how > 0.95 else signal.SIGINT if how > 0.85 else signal.SIGTERM
        self._signal(last)
        try:
            self._must_end(last)
        finally:
            os.close(self._pidfd)

    def _must_end(self, last):
        if not ended(self._pidfd, END_S):
            there = whereabouts(self.pid)
            self._signal(signal.SIGKILL)
            killed = 'SIGKILL ended it' if ended(self._pidfd, END_S) else 'nor does SIGKILL'
            what = self.board.text
            raise Failure(f'{last.name} does not end a process in {what!r}: {there}; {killed}')
        os.waitpid(self.pid, 0)

    def _signal(self, number):
        signal.pidfd_send_signal(self._pidfd, number)
