"""System calls on open files."""
import array
import fcntl
import os
import select
import socket

import libc
from operation import operation


@operation(16)
def open_(me):
    slot, path, flags = me.slot(), me.some_path(), me.flags()
    me.put(slot, os.open(path, flags, 0o600))


@operation(8)
def open_pipe(me):
    """Readers are what most operations need, so that they are opened more often."""
    slot = me.slot()
    me.put(slot, os.open(me.noted(me.pick(me.tree.pipes)), os.O_RDONLY | os.O_NONBLOCK))


@operation(8)
def write_file(me):
    """As echo does."""
    fd = os.open(me.path(), os.O_WRONLY | me.pick([0, 0, os.O_TRUNC]))
    try:
        os.write(fd, me.noted(me.text()))
    finally:
        os.close(fd)


@operation(4)
def close(me):
    me.put(me.slot(), -1)


@operation(14, may_block=True)
def read(me):
    os.read(me.fd(), me.size())


@operation(6, may_block=True)
def pread(me):
    os.pread(me.fd(), me.size(), me.offset())


@operation(4, may_block=True)
def preadv(me):
    buffers = [bytearray(me.size()) for _ in range(me.random.randrange(1, 5))]
    if me.chance(0.5):
        os.readv(me.fd(), buffers)
    else:
        os.preadv(me.fd(), buffers, me.offset(), me.pick([0, 0, os.RWF_NOWAIT, os.RWF_HIPRI]))


@operation(10, may_block=True)
def write(me):
    os.write(me.fd(), me.noted(me.text()))


@operation(4, may_block=True)
def pwritev(me):
    buffers = [me.text() for _ in range(me.random.randrange(1, 4))]
    if me.chance(0.3):
        os.pwrite(me.fd(), buffers[0], me.offset())
    elif me.chance(0.5):
        os.writev(me.fd(), buffers)
    else:
        flags = me.pick([0, os.RWF_DSYNC, os.RWF_SYNC, os.RWF_APPEND])
        os.pwritev(me.fd(), buffers, me.offset(), flags)


@operation(4, may_block=True)
def splice(me):
    reading, writing = me.pipe(filled=me.chance(0.5))
    flags = me.pick([0, os.SPLICE_F_NONBLOCK, os.SPLICE_F_MOVE, os.SPLICE_F_MORE])
    offset = None if me.chance(0.7) else me.offset()
    try:
        if me.chance(0.7):
            os.splice(me.fd(), writing, me.size(), offset_src=offset, flags=flags)
        else:
            os.splice(reading, me.fd(), me.size(), offset_dst=offset, flags=flags)
    finally:
        os.close(reading)
        os.close(writing)


@operation(2, may_block=True)
def sendfile(me):
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        os.sendfile(ours.fileno(), me.fd(), None if me.chance(0.5) else me.offset(), me.size())
    finally:
        ours.close()
        theirs.close()


@operation(2, may_block=True)
def copy_file_range(me):
    os.copy_file_range(me.fd(), me.fd(), me.size(), None if me.chance(0.5) else me.offset())


@operation(1)
def tee(me):
    reading, writing = me.pipe(filled=True)
    try:
        libc.call('tee', me.pick([me.fd(), reading]), me.pick([me.fd(), writing]), me.size(), 2)
    finally:
        os.close(reading)
        os.close(writing)


@operation(4, may_block=True)
def poll(me):
    poller = select.poll()
    for _ in range(me.random.randrange(1, 5)):
        fd = me.fd()
        if fd >= 0:
            poller.register(fd, me.random.randrange(0x800))
    poller.poll(me.pick([0, 0, 1, 5, None]))


@operation(2, may_block=True)
def select_(me):
    fds = [fd for fd in (me.fd() for _ in range(4)) if 0 <= fd < 1024]
    select.select(fds, fds if me.chance(0.5) else [], fds, me.pick([0, 0.001, 0.005, None]))


@operation(3, may_block=True)
def epoll(me):
    with select.epoll() as poller:
        for _ in range(me.random.randrange(1, 5)):
            fd = me.fd()
            try:
                edges = select.EPOLLET if me.chance(0.3) else 0
                poller.register(fd, select.EPOLLIN | select.EPOLLOUT | edges)
            except (OSError, ValueError):
                pass
        poller.poll(me.pick([0, 0.001, 0.005, -1]))


@operation(5)
def lseek(me):
    os.lseek(me.fd(), me.offset(), me.random.randrange(6))


@operation(5)
def ioctl(me):
    """Any number, direction and size, and the ones that the kernel knows for all files."""
    known = [0, 0x5421, 0x541B, 0x5450, 0x5452, 0x5460, 0x80086601, 0x40086602, 0x801C581F, 0xC020660B]
    number = me.pick(known) if me.chance(0.3) else me.random.randrange(2**32)
    if number & 0xFFFF == 0x5877 or number & 0xFFFF == 0x5878:
        return  # FIFREEZE and FITHAW are of the whole file system.
    fcntl.ioctl(me.fd(), me.noted(number), bytearray(16_384))


@operation(2)
def fsync(me):
    me.pick([os.fsync, os.fdatasync])(me.fd())


@operation(1)
def sync_file_range(me):
    libc.call('sync_file_range', me.fd(), me.offset(), me.size(), me.random.randrange(8))


@operation(1)
def syncfs(me):
    libc.call('syncfs', me.fd())


@operation(2)
def fallocate(me):
    libc.call('fallocate', me.fd(), me.random.randrange(0x80), me.offset(), me.size())


@operation(2)
def ftruncate(me):
    os.ftruncate(me.fd(), me.offset())


@operation(1)
def readahead(me):
    libc.call('readahead', me.fd(), me.offset(), me.size())


@operation(1)
def fadvise(me):
    os.posix_fadvise(me.fd(), me.offset(), me.size(), me.random.randrange(6))


@operation(4)
def fstat(me):
    me.pick([os.fstat, os.fstatvfs])(me.fd())


@operation(4)
def getdents(me):
    size = me.pick([0, 1, 23, 24, 31, 32, 40, 100, 4096, 32_768])
    fd = os.open(me.noted(me.pick(me.tree.dirs)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(4):
            libc.getdents(fd, size)
            if me.chance(0.2):
                os.lseek(fd, me.offset(), os.SEEK_SET)
    finally:
        os.close(fd)


@operation(2)
def dup(me):
    slot, fd = me.slot(), me.fd()
    me.put(slot, os.dup(fd))


@operation(4)
def fcntl_flags(me):
    """O_NONBLOCK comes and goes on descriptions that other processes share."""
    flags = me.pick([0, os.O_NONBLOCK, os.O_NONBLOCK, os.O_NONBLOCK, os.O_APPEND, os.O_ASYNC, os.O_DIRECT, os.O_NOATIME])
    fcntl.fcntl(me.fd(), fcntl.F_SETFL, me.noted(flags))


@operation(2)
def fcntl_any(me):
    harmless = [1, 3, 9, 11, 1025, 1031, 1032, 1034, 1035, 1036, 1037, 1038]
    argument = array.array('Q', [me.random.randrange(4)] * 4).tobytes()
    fcntl.fcntl(me.fd(), me.noted(me.pick(harmless)), argument)


@operation(2, may_block=True)
def lock(me):
    kind = me.pick([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN])
    wait = me.pick([0, fcntl.LOCK_NB])
    me.pick([fcntl.flock, fcntl.lockf])(me.fd(), kind | wait)


@operation(1)
def lease(me):
    """It is given back at once: whoever opens the file meanwhile has to wait for that."""
    fd = me.fd()
    fcntl.fcntl(fd, fcntl.F_SETLEASE, me.pick([fcntl.F_RDLCK, fcntl.F_WRLCK]))
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


@operation(1)
def send_descriptor(me):
    """A descriptor in a message, which is closed on the way when nobody receives it."""
    ours, theirs = socket.socketpair()
    try:
        socket.send_fds(ours, [b'x'], [me.fd()])
        if me.chance(0.5):
            for fd in socket.recv_fds(theirs, 1, 1)[1]:
                me.put(me.slot(), fd)
    finally:
        ours.close()
        theirs.close()
