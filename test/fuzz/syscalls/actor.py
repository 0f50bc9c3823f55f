"""A process that makes system calls: its descriptors, and what it chooses by chance."""
import fcntl
import os
import random

SLOTS = 6
SIZES = [0, 1, 2, 3, 7, 16, 100, 511, 4095, 4096, 4097, 8192, 65_536, 131_072, 131_100, 1_048_576]
OFFSETS = [0, 0, 0, 1, 5, 4095, 4096, 8192, 2**31 - 1, 2**31, 2**32, 2**63 - 1, -1]
ACCESS = [os.O_RDONLY] * 5 + [os.O_WRONLY] * 3 + [os.O_RDWR] * 2 + [3]
OPEN_FLAGS = [
    os.O_APPEND, os.O_ASYNC, os.O_CLOEXEC, os.O_CREAT, os.O_DIRECT, os.O_DIRECTORY, os.O_DSYNC,
    os.O_EXCL, os.O_NOATIME, os.O_NOCTTY, os.O_NOFOLLOW, os.O_PATH, os.O_SYNC, os.O_TMPFILE,
    os.O_TRUNC, os.O_LARGEFILE,
]
TEXTS = [
    b'0', b'1', b'0\n', b'1\n', b'X', b'2', b'', b'4\n', b'16\n', b'64\n', b'256\n', b'none\n',
    b'id == 1', b'vcpu > 0 && reason != 3', b'COMM ~ "v*"', b'!hypervisor:*', b'hypervisor:hyp_enter',
    b'3', b'boot', b'nop', b'idle', b'storm', b'hotplug', b'max', b'100', b'7', b'advance 1ms',
    b'__kvm_flush_cpu_context', b'cpu=1 __pkvm_host_share_hyp 0x1234 1', b'nooverwrite',
    b'noirq-info', b'\0', b'\xff\xfe', b'9' * 30, b'a' * 5000,
]


class Tree:
    """The paths of a mount, in an order that does not change."""

    def __init__(self, root):
        self.root = root
        self.dirs, self.files = [root], []
        for at, dirs, files in os.walk(root):
            dirs.sort()
            if os.path.basename(at) == 'sim':
                dirs.remove('vms')
            self.dirs += [os.path.join(at, name) for name in dirs]
            self.files += [os.path.join(at, name) for name in sorted(files)]
        self.pipes = [path for path in self.files if 'trace_pipe' in os.path.basename(path)]
        self.texts = [path for path in self.files if path not in self.pipes]


class Actor:
    def __init__(self, tree, note=lambda text: None):
        self.tree = tree
        self.random = random.Random(0)
        self.slots = [-1] * SLOTS
        self.note = note
        #: Whether descriptors are opened anew, so that no other process has a part in them.
        self.alone = False
        #: Whether its descriptors lose O_NONBLOCK before they are used.
        self.waits = False

    def begin(self, seed, number):
        """What is chosen for an operation follows from the seed and its number alone."""
        self.random = random.Random(f'{seed}.{number}')

    def chance(self, share):
        return self.random.random() < share

    def pick(self, items):
        return self.random.choice(items)

    def noted(self, value):
        self.note(f' {value}')
        return value

    def path(self):
        kind = self.random.random()
        paths = self.tree.pipes if kind < 0.3 else self.tree.dirs if kind > 0.9 else self.tree.texts
        path = self.pick(paths)
        self.note(f' {os.path.relpath(path, self.tree.root)}')
        return path

    def new_path(self):
        return os.path.join(self.pick(self.tree.dirs), self.pick(['new', '.x', 'a' * 255, 'b' * 256]))

    def some_path(self):
        """One that is there, or now and then one that is not, or leads through a file."""
        odd = self.random.random()
        if odd < 0.05:
            return self.noted(self.new_path())
        return self.path() + ('/' if odd < 0.08 else '/..' if odd < 0.1 else '')

    def slot(self):
        return self.random.randrange(SLOTS)

    def fd(self):
        slot = self.slot()
        self.note(f' fd{slot}')
        fd = self.slots[slot]
        if self.alone and fd >= 0:
            self.slots[slot] = fd = os.open(f'/proc/self/fd/{fd}', fcntl.fcntl(fd, fcntl.F_GETFL))
        if self.waits and fd >= 0:
            os.set_blocking(fd, True)
        return fd

    def put(self, slot, fd):
        old, self.slots[slot] = self.slots[slot], fd
        if old >= 0:
            os.close(old)

    def flags(self, share=0.06):
        flags = self.pick(ACCESS)
        for flag in OPEN_FLAGS:
            if self.chance(share):
                flags |= flag
        if self.chance(0.85):
            flags |= os.O_NONBLOCK
        return self.noted(flags)

    def size(self):
        return self.noted(self.pick(SIZES) if self.chance(0.8) else self.random.randrange(200_000))

    def offset(self):
        return self.noted(self.pick(OFFSETS) if self.chance(0.8) else self.random.randrange(2**40))

    def text(self):
        if self.chance(0.9):
            return self.pick(TEXTS)
        return self.random.randbytes(self.random.randrange(300))

    def pipe(self, filled=False):
        reading, writing = os.pipe2(os.O_NONBLOCK)
        if filled:
            os.write(writing, self.text() or b'x')
        return reading, writing

    def close(self):
        for slot in range(SLOTS):
            self.put(slot, -1)
