"""The system calls that Python's os module does not have."""
import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)

PROT_READ, PROT_WRITE = 1, 2
MAP_SHARED, MAP_PRIVATE = 1, 2
AT_FDCWD = -100
PR_SET_PDEATHSIG = 1
IN_NONBLOCK = os.O_NONBLOCK
FAN_NONBLOCK, FAN_MARK_ADD = 2, 1
_MAP_FAILED = ctypes.c_void_p(-1).value


def call(name, *args):
    """Calls a function of libc; raises OSError when it fails."""
    function = getattr(_LIBC, name)
    function.restype = ctypes.c_long
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = function(*wide)
    if ctypes.c_int(result).value == -1:
        raise OSError(ctypes.get_errno(), name)
    return result


class Mapping:
    """A mapping of a file, of which the fuzzer touches single bytes."""

    def __init__(self, fd, length, prot, flags, offset):
        _LIBC.mmap.restype = ctypes.c_void_p
        self.length = length
        self.address = _LIBC.mmap(
            None, ctypes.c_size_t(length), prot, flags, fd, ctypes.c_long(offset)
        )
        if self.address == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), 'mmap')

    def touch(self, at):
        return ctypes.c_ubyte.from_address(self.address + at).value

    def write(self, at, value):
        ctypes.c_ubyte.from_address(self.address + at).value = value

    def advise(self, advice):
        call('madvise', ctypes.c_void_p(self.address), self.length, advice)

    def sync(self, flags):
        call('msync', ctypes.c_void_p(self.address), self.length, flags)

    def residency(self):
        pages = ctypes.create_string_buffer(self.length // 4096 + 1)
        call('mincore', ctypes.c_void_p(self.address), self.length, pages)

    def unmap(self):
        call('munmap', ctypes.c_void_p(self.address), self.length)


def getdents(fd, size):
    buffer = ctypes.create_string_buffer(size)
    return call('getdents64', fd, buffer, size)


def file_handle(path, flags):
    """What name_to_handle_at(2) gives: a struct file_handle."""
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.c_uint.from_buffer(handle).value = 128
    mount_id = ctypes.c_int()
    call('name_to_handle_at', AT_FDCWD, os.fsencode(path), handle, ctypes.byref(mount_id), flags)
    return handle


def open_by_handle(directory, handle, flags):
    return call('open_by_handle_at', directory, handle, flags)
