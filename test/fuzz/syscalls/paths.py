"""System calls on paths."""
import os
import select
import stat

import libc
from operation import operation


@operation(8)
def stat_(me):
    me.pick([os.stat, os.lstat, os.statvfs])(me.some_path())


@operation(2)
def access(me):
    os.access(me.some_path(), me.random.randrange(8), effective_ids=me.chance(0.5))


@operation(2)
def readlink(me):
    os.readlink(me.some_path())


@operation(2)
def listdir(me):
    os.listdir(me.some_path())


@operation(2)
def truncate(me):
    os.truncate(me.some_path(), me.offset())


@operation(4)
def xattr(me):
    path, name = me.some_path(), me.pick(['user.a', 'security.selinux', 'trusted.x', 'x', 'user.' + 'y' * 250])
    what = me.random.randrange(4)
    if what == 0:
        os.getxattr(path, name)
    elif what == 1:
        os.setxattr(path, name, me.text(), me.random.randrange(3))
    elif what == 2:
        os.listxattr(path)
    else:
        os.removexattr(path, name)


@operation(3)
def chmod(me):
    os.chmod(me.some_path(), me.noted(me.random.randrange(0o10000)))


@operation(2)
def chown(me):
    os.chown(me.some_path(), me.pick([-1, 0, 1000, 65_534]), me.pick([-1, 0, 1000, 2**32 - 2]))


@operation(2)
def utimes(me):
    nanoseconds = me.pick([0, 1, 10**9, 2**62, me.random.randrange(2**60)])
    os.utime(me.some_path(), ns=(nanoseconds, me.random.randrange(2**60)))


@operation(2)
def make(me):
    """Each is refused: the tree is the kernel's to change."""
    path, what = me.noted(me.new_path()), me.random.randrange(4)
    if what == 0:
        os.mkdir(path)
    elif what == 1:
        os.mkfifo(path)
    elif what == 2:
        os.mknod(path, me.pick([stat.S_IFREG, stat.S_IFSOCK, stat.S_IFCHR]), os.makedev(1, 3))
    else:
        os.symlink(me.path(), path)


@operation(1)
def link(me):
    os.link(me.some_path(), me.noted(me.new_path()))


def _rename_or_remove(me, path, other):
    what = me.random.randrange(5)
    if what == 0:
        os.unlink(path)
    elif what == 1:
        os.rmdir(path)
    elif what == 2:
        os.rename(path, other)
    else:
        flags = me.pick([0, 1, 2, 4])
        at = libc.AT_FDCWD
        libc.call('renameat2', at, os.fsencode(path), at, os.fsencode(other), flags)


@operation(2)
def rename(me):
    """Of files that nobody waits for."""
    quiet = [path for path in me.tree.texts if '/events/' in path]
    _rename_or_remove(me, me.noted(me.pick(quiet)), me.pick(quiet))


@operation(6, off_by_default=True)
def renames(me):
    """Of any file or directory, beside those who wait for it."""
    _rename_or_remove(me, me.some_path(), me.some_path() if me.chance(0.7) else me.new_path())


@operation(2)
def chdir(me):
    os.chdir(me.noted(me.pick(me.tree.dirs)))
    os.getcwd()
    os.chdir('/')


@operation(2)
def handle(me):
    directory = os.open(me.tree.root, os.O_RDONLY)
    try:
        handle = libc.file_handle(me.some_path(), me.pick([0, 0x200, 0x400, 0x1000]))
        me.put(me.slot(), libc.open_by_handle(directory, handle, me.flags() | os.O_NONBLOCK))
    finally:
        os.close(directory)


def _watch(me, fd, mark):
    try:
        mark(fd)
        os.stat(me.path())
        if select.select([fd], [], [], 0)[0]:
            os.read(fd, 4096)
    finally:
        os.close(fd)


@operation(1)
def inotify(me):
    path = os.fsencode(me.path())
    mask = me.random.randrange(1, 0x1000)
    _watch(
        me,
        libc.call('inotify_init1', libc.IN_NONBLOCK),
        lambda fd: libc.call('inotify_add_watch', fd, path, mask),
    )


@operation(1)
def fanotify(me):
    path = os.fsencode(me.path())
    mask = me.pick([1, 2, 8, 0x10, 0x20, 0x3B])
    _watch(
        me,
        libc.call('fanotify_init', libc.FAN_NONBLOCK, os.O_RDONLY),
        lambda fd: libc.call('fanotify_mark', fd, libc.FAN_MARK_ADD, mask, libc.AT_FDCWD, path),
    )


@operation(1, may_block=True, only_in_child=True)
def exec_(me):
    path = me.path()
    os.chmod(path, 0o755)
    os.execv(path, ['x'])


@operation(3, may_block=True, only_in_child=True)
def mmap(me):
    """Touches single bytes of a mapping, which may end the process with SIGBUS."""
    fd = os.open(me.path(), me.pick([os.O_RDONLY, os.O_RDWR]) | os.O_NONBLOCK)
    prot = me.pick([libc.PROT_READ, libc.PROT_READ | libc.PROT_WRITE])
    length = me.pick([1, 4096, 65_536])
    mapping = libc.Mapping(fd, length, prot, me.pick([libc.MAP_SHARED, libc.MAP_PRIVATE]), me.pick([0, 4096]))
    mapping.residency()
    mapping.advise(me.random.randrange(5))
    at = me.random.randrange(length)
    mapping.touch(at)
    if prot & libc.PROT_WRITE:
        mapping.write(at, 1)
    mapping.sync(me.pick([1, 2, 4]))
    mapping.unmap()
