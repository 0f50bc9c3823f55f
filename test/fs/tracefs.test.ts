import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { TestMachine } from '../support/machine.ts';

describe('paths', () => {
  test.each([
    ['nosuch', 'ENOENT'],
    ['per_cpu/cpu9/trace', 'ENOENT'],
    ['tracing_on/x', 'ENOTDIR'],
    ['events', 'EISDIR'],
    ['constructor', 'ENOENT'],
  ])('%s is %s', async (path, errno) => {
    await expect(new TestMachine().open(path, constants.O_RDONLY)).rejects.toThrow(`${errno}:`);
  });

  test('O_DIRECT is EINVAL', async () => {
    const direct = constants.O_RDONLY | constants.O_DIRECT;
    await expect(new TestMachine().open('tracing_on', direct)).rejects.toThrow('EINVAL:');
  });
});

describe('an open file', () => {
  test('is read and written only as it was opened', async () => {
    const machine = new TestMachine();
    const reader = await machine.open('tracing_on', constants.O_RDONLY);
    const writer = await machine.open('tracing_on', constants.O_WRONLY);
    await expect(machine.fs.write(reader, Buffer.from('1'), machine.io())).rejects.toThrow(
      'EBADF:',
    );
    await expect(machine.read(writer)).rejects.toThrow('EBADF:');
  });

  test('is gone with its last close', async () => {
    const machine = new TestMachine();
    const fd = await machine.open('tracing_on', constants.O_RDONLY);
    expect(machine.fs.openFiles).toBe(1);
    await machine.close(fd);
    expect(machine.fs.openFiles).toBe(0);
    await expect(machine.read(fd)).rejects.toThrow('EBADF:');
  });
});

describe('stat', () => {
  test.each([
    'tracing_on',
    'buffer_size_kb',
    'events/hypervisor/hyp_exit/format',
    'per_cpu/cpu0/stats',
  ])('shows how long the text of %s is', async (file) => {
    const machine = new TestMachine();
    const { size } = await machine.fs.stat(`/hypervisor/${file}`);
    expect(size).toBe((await machine.cat(file)).length);
  });

  test('shows a size of a pipe, without which no splice would ask for its text', async () => {
    expect((await new TestMachine().fs.stat('/hypervisor/trace_pipe')).size).toBe(2 ** 30);
  });

  test.each(['trace', 'selftest_event', 'per_cpu'])('shows no size of %s', async (file) => {
    expect((await new TestMachine().fs.stat(`/hypervisor/${file}`)).size).toBe(0);
  });

  test('remembers what was changed, of that file alone', async () => {
    const { fs } = new TestMachine();
    fs.change('/hypervisor/trace', { mode: 0o600 });
    fs.change('/hypervisor/trace', { uid: 7 });
    expect(await fs.stat('/hypervisor/trace')).toMatchObject({ mode: 0o600, uid: 7, gid: 0 });
    expect(await fs.stat('/hypervisor/per_cpu/cpu0/trace')).toMatchObject({ mode: 0o440, uid: 0 });
  });
});

describe('poll', () => {
  const [IN, OUT] = [0x41, 0x104];

  test('finds a text file always ready', async () => {
    const machine = new TestMachine();
    const fd = await machine.open('tracing_on', constants.O_RDWR);
    expect(machine.fs.poll(fd)).toBe(IN | OUT);
  });

  test('finds a pipe ready exactly when a read would not wait', async () => {
    const machine = new TestMachine();
    await machine.setup();
    const fd = await machine.open('trace_pipe', constants.O_RDONLY);
    expect(machine.fs.poll(fd)).toBe(0);
    await machine.selftest();
    expect(machine.fs.poll(fd)).toBe(IN);
    await machine.read(fd, 10);
    expect(machine.fs.poll(fd)).toBe(IN); // The rest of the line.
    await machine.read(fd);
    expect(machine.fs.poll(fd)).toBe(0);
    await machine.close(fd);
  });

  test('tells of each news once, read or not, until the file is closed', async () => {
    const machine = new TestMachine();
    await machine.setup();
    const fd = await machine.open('trace_pipe', constants.O_RDONLY);
    let told = 0;
    machine.fs.poll(fd, () => told++);
    await machine.advance(500);
    expect(told).toBe(0);
    for (const news of [1, 2]) {
      await machine.selftest();
      await machine.advance(500);
      expect(told).toBe(news);
    }
    machine.fs.poll(fd); // Without a word about news: the last one stays.
    await machine.read(fd);
    await machine.selftest();
    await machine.write('tracing_on', '0'); // A stop looks at once.
    expect(told).toBe(3);
    await machine.close(fd);
    await machine.startTracing();
    await machine.selftest();
    await machine.advance(500);
    expect(told).toBe(3);
  });
});

describe('a reader that was killed', () => {
  const interrupted = async (machine: TestMachine): Promise<number> => {
    const fd = await machine.open('trace_pipe', constants.O_RDONLY);
    const io = machine.io({ onInterrupt: (callback) => queueMicrotask(callback) });
    await expect(machine.read(fd, 100, 0, io)).rejects.toThrow('EINTR:');
    return fd;
  };

  test('is gone before the next command, however late its close arrives', async () => {
    const machine = new TestMachine();
    const fd = await interrupted(machine);
    machine.dying = true;
    const state = machine.cat('buffer_size_kb');
    await machine.advance(10);
    await machine.close(fd);
    expect(await state).toBe('7 (unloaded)\n');
  });

  test('holds nobody up if it lives on', async () => {
    const machine = new TestMachine();
    await interrupted(machine);
    expect(await machine.cat('buffer_size_kb')).toBe('7 (loaded)\n');
  });

  test('holds others up once, and not for long, if its pipe stays open elsewhere', async () => {
    const machine = new TestMachine();
    await machine.open('trace_pipe', constants.O_RDONLY);
    machine.dying = true;
    const state = machine.cat('buffer_size_kb');
    await machine.advance(2_000);
    expect(await state).toBe('7 (loaded)\n');
    expect(await machine.cat('buffer_size_kb')).toBe('7 (loaded)\n');
  });

  test('holds nobody up who is killed as well', async () => {
    const machine = new TestMachine();
    await machine.open('trace_pipe', constants.O_RDONLY);
    machine.dying = true;
    let kill = (): void => {};
    const onInterrupt = (callback: () => void): void => {
      kill = callback;
    };
    const opened = machine.open('buffer_size_kb', constants.O_RDONLY, machine.io({ onInterrupt }));
    await machine.advance(1);
    expect(machine.fs.openFiles).toBe(1);
    kill();
    await opened;
  });

  test('is waited for from the moment that it is sure to die', async () => {
    const machine = new TestMachine();
    const fd = await machine.open('trace_pipe', constants.O_RDONLY);
    machine.dying = true; // Its signal has not reached us, and will not for a while.
    const state = machine.cat('buffer_size_kb');
    await machine.advance(1_000);
    machine.dying = false;
    await machine.close(fd);
    expect(await state).toBe('7 (unloaded)\n');
  });

  test('may be closed while a start takes its time', async () => {
    const machine = new TestMachine();
    const fd = await interrupted(machine);
    const started = machine.write('tracing_on', '1');
    await machine.advance(60);
    const closed = machine.close(fd); // Its release waits for the start's lock.
    await machine.advance(150);
    await Promise.all([started, closed]);
    expect(machine.fs.openFiles).toBe(0);
  });

  test('holds nobody up once it reads again', async () => {
    const machine = new TestMachine();
    const fd = await interrupted(machine);
    const io = machine.io({ nonblock: true });
    await expect(machine.read(fd, 100, 0, io)).rejects.toThrow('EAGAIN:');
    expect(await machine.cat('buffer_size_kb')).toBe('7 (loaded)\n');
  });
});
