"""The daemon that is fuzzed."""
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time

from child import Failure

MAIN = os.path.join(os.path.dirname(__file__), '../../../dist/daemon/main.js')
START_S = 20
CONTROLS = ['hypervisor/tracing_on', 'hypervisor/buffer_size_kb', 'tracing_cpumask', 'sim/scenario']


class Daemon:
    def __init__(self, options):
        self.dir = tempfile.mkdtemp(prefix='pkvm-tracefs-fuzz-')
        self.log = tempfile.TemporaryFile()
        command = ['node', os.path.realpath(MAIN), 'mount', self.dir, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        ready = select.select([self.process.stdout], [], [], START_S)[0]
        if not ready or not self.process.stdout.readline().startswith(b'ready'):
            raise Failure(f'the daemon does not start: {self.logged()}')

    def path(self, name):
        return os.path.join(self.dir, name)

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode('utf8', 'replace')

    @property
    def rss_mib(self):
        with open(f'/proc/{self.process.pid}/status', encoding='latin1') as status:
            line = next(line for line in status if line.startswith('VmRSS'))
        return int(line.split()[1]) // 1024

    @property
    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failure(f'the daemon ended with {self.process.returncode}: {self.logged()}')

    def put(self, name, data):
        fd = os.open(self.path(name), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def get(self, name):
        with open(self.path(name), encoding='latin1') as file:
            return file.read()

    def settle(self):
        """Stops tracing and drops what was traced; all readers are gone by now."""
        self.put('hypervisor/tracing_on', b'0')
        self.put('hypervisor/trace', b'')

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            raise Failure('SIGTERM does not end the daemon') from None
        finally:
            self._remove()

    def _remove(self):
        if self.process.poll() is None:
            self.process.kill()
        subprocess.run(['fusermount', '-u', '-z', self.dir], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


class Answers(threading.Thread):
    """Asks a control file now and then, and knows how long each answer took."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.daemon_process = daemon
        self.since = None
        self.seconds = []
        self.file = ''

    def run(self):
        while True:
            for self.file in CONTROLS:
                self.since = time.monotonic()
                try:
                    self.daemon_process.get(self.file)
                except OSError:
                    return
                self.seconds.append(time.monotonic() - self.since)
                self.since = None
                time.sleep(0.05)

    @property
    def longest(self):
        waiting = self.since
        return max([*self.seconds, time.monotonic() - waiting if waiting else 0])
