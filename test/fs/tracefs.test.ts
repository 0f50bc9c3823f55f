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
    const state = machine.cat('buffer_size_kb');
    await machine.advance(10);
    await machine.close(fd);
    expect(await state).toBe('7 (unloaded)\n');
  });

  test('holds nobody up for long if it lives on', async () => {
    const machine = new TestMachine();
    await interrupted(machine);
    const state = machine.cat('buffer_size_kb');
    await machine.advance(50);
    expect(await state).toBe('7 (loaded)\n');
  });

  test('holds nobody up once it reads again', async () => {
    const machine = new TestMachine();
    const fd = await interrupted(machine);
    const io = machine.io({ nonblock: true });
    await expect(machine.read(fd, 100, 0, io)).rejects.toThrow('EAGAIN:');
    expect(await machine.cat('buffer_size_kb')).toBe('7 (loaded)\n');
  });
});
