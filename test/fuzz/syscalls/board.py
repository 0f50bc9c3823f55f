"""Memory that a process shares with its parent, to say what it is doing."""
import mmap
import struct

SIZE = 512
_HEAD = struct.Struct('=qdH')


class Board:
    """The number of an operation, when it began, and what it is."""

    def __init__(self, memory=None, offset=0):
        self._memory = memory if memory is not None else mmap.mmap(-1, SIZE)
        self._offset = offset
        self._at = 0

    def begin(self, number, now, text):
        _HEAD.pack_into(self._memory, self._offset, number, now, 0)
        self._at = 0
        self.add(text)

    def add(self, text):
        data = text.encode('utf8', 'replace')[: SIZE - _HEAD.size - self._at]
        start = self._offset + _HEAD.size + self._at
        self._memory[start : start + len(data)] = data
        self._at += len(data)
        struct.pack_into('=H', self._memory, self._offset + _HEAD.size - 2, self._at)

    @property
    def number(self):
        return _HEAD.unpack_from(self._memory, self._offset)[0]

    @property
    def since(self):
        """Read until it is whole, as the other process may be writing it."""
        first, again = None, self._since()
        while again != first or again == 0:
            first, again = again, self._since()
        return again

    def _since(self):
        return _HEAD.unpack_from(self._memory, self._offset)[1]

    @property
    def text(self):
        length = _HEAD.unpack_from(self._memory, self._offset)[2]
        start = self._offset + _HEAD.size
        return self._memory[start : start + length].decode('utf8', 'replace')


def boards(count):
    memory = mmap.mmap(-1, SIZE * count)
    return [Board(memory, SIZE * each) for each in range(count)]
