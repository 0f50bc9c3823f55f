"""usage: traced_probes.py DIR

Takes the steps of Perfetto's traced_probes on the tracefs or instance at DIR, file by file and open flag by
open flag, as consumers of its source describe them; prints the name of each event that it read, in order.
Any step that would end traced_probes ends this.
"""

import os
import re
import struct
import sys
import time

root = sys.argv[1]
PAGE = 4096


def path(name):
    return os.path.join(root, name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read().decode()


def write(name, text, flags=os.O_WRONLY):
    fd = os.open(path(name), flags)
    assert os.write(fd, text) == len(text), f"a short write to {name}"
    os.close(fd)


# Is there a tracefs, and what is in it?
os.close(os.open(path("trace"), os.O_RDONLY))
data = re.search(r"char data;\toffset:(\d+);\tsize:(\d+);", read("events/header_page"))
assert data, "header_page"
data_at = int(data[1])
read("printk_formats") if os.path.exists(path("printk_formats")) else None
events = {}
for name in os.listdir(path("events/hypervisor")):
    if not os.path.isdir(path(f"events/hypervisor/{name}")):
        continue
    text = read(f"events/hypervisor/{name}/format")
    ident = int(re.search(r"^ID: (\d+)$", text, re.M)[1])
    assert ident != 0 and "\tfield:unsigned short common_type;" in text
    events[ident] = name

# Set it up.
assert read("current_tracer") == "nop\n"
fd = os.open(path("tracing_on"), os.O_RDONLY)
was_on = os.read(fd, 1)
os.close(fd)
write("tracing_on", b"0")
write("events/enable", b"0")
os.close(os.open(path("trace"), os.O_WRONLY | os.O_TRUNC))
assert "boot" in read("trace_clock")
write("buffer_size_kb", b"512")
assert re.match(r"\d+", read("buffer_size_kb"))[0] == "512"
for name in events.values():
    assert os.access(path(f"events/hypervisor/{name}/enable"), os.W_OK)
    write(f"events/hypervisor/{name}/enable", b"1")

# Start, and read every 100 ms, up to 256 pages of each CPU.
write("tracing_on", b"1")
cpus = [
    os.open(path(f"per_cpu/cpu{cpu}/trace_pipe_raw"), os.O_RDONLY | os.O_NONBLOCK)
    for cpu in range(os.sysconf("SC_NPROCESSORS_CONF"))
]


def read_pages(fd):
    for _ in range(256):
        try:
            page = os.read(fd, PAGE)
        except BlockingIOError:
            return
        assert len(page) == PAGE, "not a page"
        commit = struct.unpack_from("<I", page, 8)[0]
        size = commit & 0x7FFFFFF
        assert 0 < size <= PAGE - data_at, "an ABI error"
        yield page[data_at : data_at + size]
        if size < (PAGE - data_at) // 2:
            return


def ids(data):
    at = 0
    while at < len(data):
        header, more = struct.unpack("<II", data[at : at + 8].ljust(8, b"\0"))
        kind = header & 0x1F
        if kind == 29:
            assert header >> 5 != 0, "an ABI error"
            at += 4 + more
        elif kind in (30, 31):
            at += 8
        else:
            length = more if kind == 0 else kind * 4
            assert length > 0, "an ABI error"
            yield struct.unpack_from("<H", data, at + (8 if kind == 0 else 4))[0]
            at += 4 + length


seen = []
deadline = time.monotonic() + 10
while len(seen) < 1000 and time.monotonic() < deadline:
    time.sleep(0.1)
    for fd in cpus:
        for page in read_pages(fd):
            seen += [events[ident] for ident in ids(page)]

# The statistics, and the end.
LINES = "entries overrun commit\\ overrun bytes oldest\\ event\\ ts now\\ ts dropped\\ events read\\ events"
for cpu in range(len(cpus)):
    stats = read(f"per_cpu/cpu{cpu}/stats")
    for line in re.split(r"(?<!\\) ", LINES):
        assert line.replace("\\", "") + ": " in stats, line
for name in events.values():
    write(f"events/hypervisor/{name}/enable", b"0")
write("tracing_on", b"0")
for fd in cpus:
    os.close(fd)
write("buffer_size_kb", b"4")
write("events/enable", b"0")
os.close(os.open(path("trace"), os.O_WRONLY | os.O_TRUNC))
write("tracing_on", was_on)
print("\n".join(seen))
