#!/usr/bin/env python3
"""usage: leaks.py DIR

Looks at every byte that a mount gives where it has nothing to say: what a failed ioctl(2) leaves in
its buffer, extended attributes, links, statfs(2). A byte that is neither zero nor what the caller
had there is the daemon's memory; this prints how many there were, call by call.
"""
import collections
import ctypes
import errno
import os
import sys

from actor import Tree

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
FILL = b'\xa5'
SIZE = 16_384
IOC_READ, IOC_WRITE = 2, 1
#: What statfs(2) may say: the type, sizes of blocks, the longest name; and the mount's flags.
STATFS_WORDS = 15
leaks = collections.Counter()


def filled(call):
    """Calls with a buffer, and returns what is in it then, less the bytes that are as they were."""
    buffer = ctypes.create_string_buffer(FILL * SIZE, SIZE)
    call(buffer)
    return buffer.raw.replace(FILL, b'').replace(b'\0', b'')


def look(what, call):
    leaks[what] += len(filled(call))


def ioctls(fd):
    for direction in (0, IOC_READ, IOC_WRITE, IOC_READ | IOC_WRITE):
        for size in (1, 8, 100, 4_096, 16_383):
            number = direction << 30 | size << 16 | 0xAB << 8 | 0x7
            look('ioctl', lambda buffer, number=number: LIBC.ioctl(fd, number, buffer))


def paths(path):
    name = os.fsencode(path)
    look('getxattr', lambda buffer: LIBC.getxattr(name, b'user.x', buffer, SIZE))
    look('listxattr', lambda buffer: LIBC.listxattr(name, buffer, SIZE))
    look('readlink', lambda buffer: LIBC.readlink(name, buffer, SIZE))


def statfs(path):
    """All but its type, flags and sizes is zero."""
    buffer = ctypes.create_string_buffer(FILL * SIZE, SIZE)
    LIBC.statfs(os.fsencode(path), buffer)
    words = list((ctypes.c_long * STATFS_WORDS).from_buffer(buffer))
    type_, bsize, *counts, namelen, frsize, _flags = words[:11]
    unknown = [*counts, *words[11:]]
    if (bsize, namelen, frsize) != (4096, 255, 4096) or any(unknown):
        leaks['statfs'] += 8 * (sum(map(bool, unknown)) or 1)


def main():
    tree = Tree(sys.argv[1])
    for path in tree.dirs + tree.files:
        paths(path)
        statfs(path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno in (errno.EPERM, errno.EACCES, errno.ENODEV), error
            continue
        ioctls(fd)
        os.close(fd)
    print(dict(+leaks))


main()
