#!/usr/bin/env python3
"""usage: probe.py TRACING_DIR EVENT_DIR PRODUCER

Asks the files of a tracing directory what each system call gives, and prints a JSON object of
question: answer. The same questions to a simulated hypervisor/ and to a real tracefs instance;
test/mount/probe.test.ts compares. PRODUCER is the file that makes an event when written.
"""
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import stat
import sys
import threading
import time

DIR, EVENT, PRODUCER = sys.argv[1:4]
PIPE, CPU_PIPE, STATS = 'trace_pipe', 'per_cpu/cpu0/trace_pipe', 'per_cpu/cpu0/stats'
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
PROT_READ, MAP_SHARED = 1, 1
answers = {}


def ask(question, function):
    try:
        answer = function()
    except OSError as error:
        answer = errno.errorcode.get(error.errno, str(error.errno))
    assert question not in answers, question
    answers[question] = answer if isinstance(answer, (str, int, bool, list)) else repr(answer)


def checked(result):
    """What a C function gave: its errno when it failed."""
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), '')
    return 'ok'


def path(file):
    return os.path.join(DIR, file.replace('EVENT', EVENT))


def put(file, data, flags=os.O_WRONLY):
    fd = os.open(path(file), flags)
    try:
        return os.write(fd, data) == len(data)
    finally:
        os.close(fd)


def get(file):
    fd = os.open(path(file), os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, 4096).decode('latin1')
    finally:
        os.close(fd)


class opened:
    def __init__(self, file, flags=os.O_RDONLY):
        self.args = path(file), flags

    def __enter__(self):
        self.fd = os.open(*self.args)
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def event():
    put(PRODUCER, b'x')


def clear():
    os.close(os.open(path('trace'), os.O_WRONLY | os.O_TRUNC))


def in_child(function, seconds=0.4):
    """What `function` returns in a process of its own, or 'blocks'."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = json.dumps(function())
        except OSError as error:
            text = json.dumps(errno.errorcode[error.errno])
        os.write(w, text.encode())
        os._exit(0)
    os.close(w)
    ready, _, _ = select.select([r], [], [], seconds)
    answer = json.loads(os.read(r, 65536)) if ready else 'blocks'
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(r)
    return answer


# --- directories ---------------------------------------------------------------------------

class Dirent(ctypes.Structure):
    _fields_ = [('ino', ctypes.c_ulong), ('off', ctypes.c_long), ('reclen', ctypes.c_ushort),
                ('type', ctypes.c_ubyte), ('name', ctypes.c_char * 256)]


LIBC.opendir.restype = ctypes.c_void_p
LIBC.closedir.argtypes = LIBC.readdir.argtypes = [ctypes.c_void_p]
LIBC.readdir.restype = ctypes.POINTER(Dirent)


def entries(directory):
    """The names in a directory, each with its type as readdir(3) gives it."""
    stream = LIBC.opendir(path(directory).encode())
    types = {}
    while entry := LIBC.readdir(stream):
        types[entry.contents.name.decode()] = entry.contents.type
    LIBC.closedir(stream)
    return types


for directory in ['.', 'per_cpu', 'events', 'EVENT']:
    for name in ['.', '..', 'trace_pipe', 'events', 'cpu0', 'enable', 'id']:
        if name in ['.', '..'] or os.path.exists(path(f'{directory}/{name}')):
            ask(f'{directory}: readdir {name}', lambda: entries(directory).get(name, 'missing'))

# --- numbers -------------------------------------------------------------------------------

NUMBERS = [
    b'0', b'1', b'0\n', b'1\n', b'2', b'+1', b'01', b'010', b'1\0', b'1\x002',
    b'18446744073709551615', b'0' * 62 + b'1', b'0' * 63 + b'1', b'1\n\n', b' 1', b'1 ', b'\t1\n', b'-1', b'0x1',
    b'1x', b'x', b'', b'\n', b' ', b'\0', b'on', b'1 0', b'1\n0\n', b'1.0', b'1e3', b'\xff',
    b'18446744073709551616', b'9' * 40, b'1' * 5000,
]
for number in NUMBERS:
    shown = number if len(number) < 30 else number[:2] + b'..%d' % len(number)
    ask(f'tracing_on: write {shown}', lambda: put('tracing_on', number) and get('tracing_on'))
put('tracing_on', b'0')
for number in [b'0', b'-1', b'abc', b'1e20', b'1' * 21, b'', b'\n', b' 64 ', b'0x40', b'64k', b'64 128']:
    ask(f'buffer_size_kb: write {number}', lambda: put('buffer_size_kb', number))
for file in ['events/enable', 'EVENT/enable']:
    for number in [b'0', b'1', b'0\n', b'2', b'-1', b'x', b'', b' 0 ', b'1\n0\n']:
        ask(f'{file}: write {number}', lambda: put(file, number) and get(file))
    put(file, b'0')
ask('trace: write', lambda: put('trace', b'anything'))
for flags in ['TRUNC', 'APPEND', 'CREAT']:
    ask(f'tracing_on: write with O_{flags}', lambda: put('tracing_on', b'1', os.O_WRONLY | getattr(os, 'O_' + flags)))

# --- opening -------------------------------------------------------------------------------

FLAGS = {
    'RDONLY': os.O_RDONLY, 'WRONLY': os.O_WRONLY, 'RDWR': os.O_RDWR,
    'WRONLY|TRUNC': os.O_WRONLY | os.O_TRUNC, 'WRONLY|APPEND': os.O_WRONLY | os.O_APPEND,
    'WRONLY|CREAT': os.O_WRONLY | os.O_CREAT, 'WRONLY|CREAT|EXCL': os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    'RDONLY|DIRECTORY': os.O_RDONLY | os.O_DIRECTORY, 'RDONLY|DIRECT': os.O_RDONLY | os.O_DIRECT,
    'RDWR|TMPFILE': os.O_RDWR | os.O_TMPFILE,
}
FILES = [
    'tracing_on', 'trace', PIPE, CPU_PIPE, STATS, 'per_cpu/cpu9/trace', 'per_cpu/cpu0', 'events',
    'EVENT/id', 'EVENT/format', 'events/header_page', 'trace_clock', 'nosuch', STATS + '/x',
]
for file in FILES:
    for name, flags in FLAGS.items():
        ask(f'{file}: open {name}', lambda: os.close(os.open(path(file), flags | os.O_NONBLOCK, 0o644)) or 'ok')
for file in [STATS, 'EVENT/id', 'EVENT/format', PIPE, 'events/header_page']:
    with opened(file, os.O_WRONLY | os.O_NONBLOCK) as fd:
        ask(f'{file}: write through O_WRONLY', lambda: os.write(fd, b'x'))
        ask(f'{file}: read through O_WRONLY', lambda: os.read(fd, 10))

# --- positions -----------------------------------------------------------------------------

for file in ['tracing_on', 'buffer_size_kb', PIPE, STATS, 'EVENT/id', 'EVENT/format', 'trace_clock']:
    with opened(file, os.O_RDONLY | os.O_NONBLOCK) as fd:
        for name, offset, whence in [('SET 0', 0, 0), ('SET 1', 1, 0), ('SET 100000', 100000, 0), ('CUR 0', 0, 1), ('END 0', 0, 2), ('SET -1', -1, 0)]:
            ask(f'{file}: lseek {name}', lambda: os.lseek(fd, offset, whence))
        ask(f'{file}: pread at 100000', lambda: os.pread(fd, 20, 100000))
for file in ['tracing_on', 'trace_clock', 'EVENT/enable', 'events/enable', 'EVENT/id']:
    with opened(file) as fd:
        whole = get(file)
        ask(f'{file}: read byte by byte', lambda: ''.join(os.read(fd, 1).decode() for _ in range(len(whole) + 2)) == whole)
with opened('tracing_on', os.O_RDWR) as fd:
    ask('tracing_on: pwrite at 5', lambda: os.pwrite(fd, b'1', 5))
    ask('tracing_on: ftruncate', lambda: os.ftruncate(fd, 10))
    ask('tracing_on: fsync', lambda: os.fsync(fd))
    ask('tracing_on: fallocate', lambda: checked(LIBC.fallocate(fd, 0, 0, 10)))
ask('tracing_on: truncate', lambda: os.truncate(path('tracing_on'), 0))

# --- the tree ------------------------------------------------------------------------------

ask('mkdir', lambda: os.mkdir(path('events/foo')))
ask('mkdir of what is there', lambda: os.mkdir(path('events')))
ask('rmdir', lambda: os.rmdir(path('per_cpu/cpu0')))
ask('rmdir of a file', lambda: os.rmdir(path('tracing_on')))
ask('unlink', lambda: os.unlink(path('tracing_on')))
ask('unlink of what is not', lambda: os.unlink(path('nosuch')))
ask('unlink of a directory', lambda: os.unlink(path('per_cpu')))
ask('rename', lambda: os.rename(path('tracing_on'), path('x')))
ask('link', lambda: os.link(path('tracing_on'), path('x')))
ask('symlink', lambda: os.symlink('a', path('x')))
ask('mknod', lambda: os.mknod(path('x')))
ask('mkfifo', lambda: os.mkfifo(path('x')))
for file in ['tracing_on', 'trace', PIPE, STATS, 'per_cpu', 'EVENT/enable', 'EVENT/id', 'events', 'trace_clock', 'per_cpu/cpu0/trace']:
    st = os.stat(path(file))
    ask(f'{file}: mode', lambda: stat.filemode(st.st_mode))
    ask(f'{file}: size', lambda: st.st_size)
    ask(f'{file}: owner', lambda: [st.st_uid, st.st_gid])
    ask(f'{file}: block size', lambda: st.st_blksize)
ask('tracing_on: links', lambda: os.stat(path('tracing_on')).st_nlink)
ask('chmod', lambda: os.chmod(path('tracing_on'), 0o600) or oct(os.stat(path('tracing_on')).st_mode))
os.chmod(path('tracing_on'), 0o640)
ask('chown', lambda: os.chown(path('tracing_on'), 1000, -1) or os.stat(path('tracing_on')).st_uid)
os.chown(path('tracing_on'), 0, 0)
ask('utime', lambda: os.utime(path('tracing_on'), (1, 2)) or int(os.stat(path('tracing_on')).st_mtime))
ask('setxattr', lambda: os.setxattr(path('tracing_on'), 'user.a', b'1'))
ask('getxattr', lambda: os.getxattr(path('tracing_on'), 'user.a'))
ask('listxattr', lambda: os.listxattr(path('tracing_on')))
vfs = os.statvfs(DIR)
ask('statvfs', lambda: [vfs.f_bsize, vfs.f_blocks, vfs.f_bfree, vfs.f_files, vfs.f_ffree, vfs.f_namemax])

# --- the pipe ------------------------------------------------------------------------------


def polled(fd, seconds=0.0):
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
    return [events for _, events in poll.poll(seconds * 1000)]


def read_some(fd, size=65536):
    return len(os.read(fd, size)) > 0


if PRODUCER == 'selftest_event':
    put('events/hypervisor/selftest/enable', b'1')
put('tracing_on', b'1')
clear()
with opened(PIPE) as fd:
    ask('pipe, empty: read', lambda: in_child(lambda: read_some(fd)))
    ask('pipe, empty: read of 0 bytes', lambda: in_child(lambda: len(os.read(fd, 0))))
    ask('pipe, empty: poll', lambda: polled(fd))
    ask('pipe: open it again', lambda: os.close(os.open(path(PIPE), os.O_RDONLY)) or 'ok')
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
    ask('pipe, empty: read after F_SETFL O_NONBLOCK', lambda: read_some(fd))
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    ask('pipe: ioctl 0', lambda: fcntl.ioctl(fd, 0))
    ask('pipe: ioctl TCGETS', lambda: fcntl.ioctl(fd, 0x5401, bytes(64)))
    ask('pipe: mmap', lambda: checked(LIBC.mmap(None, 4096, PROT_READ, MAP_SHARED, fd, 0)))
    ask('pipe: isatty', lambda: os.isatty(fd))
    threading.Timer(0.2, event).start()
    ask('pipe, event later: poll', lambda: polled(fd, 3))
    ask('pipe, one event: read of 1 byte', lambda: len(os.read(fd, 1)))
    ask('pipe, one event: the rest', lambda: read_some(fd))
    for _ in range(3):
        event()
    ask('pipe, three events: 3 reads of 10', lambda: [len(os.read(fd, 10)) for _ in range(3)])
    ask('pipe, three events: the rest', lambda: os.read(fd, 65536).endswith(b'\n'))
    event()
    os.close(os.dup(fd))
    ask('pipe: read after a dup was closed', lambda: in_child(lambda: read_some(fd)))
    clear()
    threading.Timer(0.2, event).start()
    ask('pipe, event later: read', lambda: in_child(lambda: read_some(fd), 3))
with opened(PIPE, os.O_RDONLY | os.O_NONBLOCK) as fd:
    ask('pipe, O_NONBLOCK, empty: read', lambda: read_some(fd))
    event()
    ask('pipe, O_NONBLOCK, one event: read', lambda: read_some(fd))
    epoll = select.epoll()
    epoll.register(fd, select.EPOLLIN | select.EPOLLET)
    event()
    ask('pipe, EPOLLET: an event', lambda: len(epoll.poll(2)))
    ask('pipe, EPOLLET: the same event', lambda: len(epoll.poll(0.3)))
    event()
    ask('pipe, EPOLLET: another, the first unread', lambda: len(epoll.poll(2)))
    read_some(fd)
    event()
    ask('pipe, EPOLLET: another, after a read', lambda: len(epoll.poll(2)))
    epoll.close()
    clear()
    ask('pipe: read after a reset', lambda: read_some(fd))
    r, w = os.pipe()
    event()
    ask('pipe: splice', lambda: os.splice(fd, w, 65536) > 0)
    ask('pipe: read after the splice', lambda: read_some(fd))
    a, b = socket.socketpair()
    event()
    ask('pipe: sendfile', lambda: os.sendfile(a.fileno(), fd, None, 4096) > 0)
clear()
for _ in range(600):
    event()
with opened(PIPE, os.O_RDONLY | os.O_NONBLOCK) as fd:
    first = os.read(fd, 131072)
    ask('pipe, backlog: a large read gives', lambda: 'whole lines, 8 KiB at most' if first.endswith(b'\n') and 8000 < len(first) <= 8192 else len(first))


def signalled(restart):
    clear()
    with opened(PIPE) as fd:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.siginterrupt(signal.SIGALRM, not restart)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        if restart:
            threading.Timer(0.6, event).start()
        buffer = ctypes.create_string_buffer(4096)
        size = LIBC.read(fd, buffer, 4096)
        return 'data' if size > 0 else errno.errorcode[ctypes.get_errno()] if size < 0 else 'end'


ask('pipe: a signal', lambda: in_child(lambda: signalled(False), 3))
ask('pipe: a signal with SA_RESTART', lambda: in_child(lambda: signalled(True), 3))


def stopped_while(has_read):
    put('tracing_on', b'1')
    clear()
    with opened(PIPE) as fd:
        if has_read:
            event()
            read_some(fd)
        put('tracing_on', b'0')
        return in_child(lambda: len(os.read(fd, 4096)))


ask('pipe, tracing off, nothing read before: read', lambda: stopped_while(False))
ask('pipe, tracing off, something read before: read', lambda: stopped_while(True))
put('tracing_on', b'1')
for file in ['tracing_on', 'trace_clock']:
    with opened(file) as fd:
        ask(f'{file}: poll', lambda: polled(fd))
        ask(f'{file}: epoll_ctl', lambda: select.epoll().register(fd, select.EPOLLIN) or 'ok')
        ask(f'{file}: ioctl 0', lambda: fcntl.ioctl(fd, 0))
        ask(f'{file}: mmap', lambda: checked(LIBC.mmap(None, 4096, PROT_READ, MAP_SHARED, fd, 0)))
        r, w = os.pipe()
        ask(f'{file}: splice', lambda: os.splice(fd, w, 65536) > 0)
put('tracing_on', b'0')
clear()

json.dump(answers, sys.stdout, indent=1)
