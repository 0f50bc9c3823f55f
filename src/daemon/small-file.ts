import { constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { MIB } from '../units.ts';
import { FS_TYPE } from './mountpoint.ts';

const MAX_SIZE = MIB;

/** Names a file without opening it, so that a FIFO or a device notices nothing; node:fs lacks it. */
const O_PATH = 0o10000000;

/**
 * The text of a file that somebody names to us. It has to be a regular file of 1 MiB at most, and
 * not on a file system of ours, where a mere open(2) may load a buffer. No call here keeps the
 * main thread waiting: a path may lead through our own mount, which that thread serves.
 *
 * @throws Error that says why it cannot be had.
 */
export async function readSmallFile(path: string): Promise<string> {
  const named = await open(path, O_PATH);
  try {
    const { size, dev } = await assertRegular(named);
    if (size > MAX_SIZE) throw tooLarge();
    if (await isOnOurMount(dev)) throw new Error('it is a file of pkvm-tracefs');
    return await readStart(`/proc/self/fd/${named.fd}`);
  } finally {
    await named.close();
  }
}

async function assertRegular(named: FileHandle) {
  const stats = await named.stat();
  if (!stats.isFile()) throw new Error('it is not a regular file');
  return stats;
}

/** The size says nothing of a file of /proc, and a read from some of them would wait. */
async function readStart(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const bytes = Buffer.allocUnsafe(MAX_SIZE + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      ({ bytesRead: read } = await file.read(bytes, length));
    if (length > MAX_SIZE) throw tooLarge();
    return bytes.toString('utf8', 0, length);
  } finally {
    await file.close();
  }
}

const tooLarge = (): Error => new Error('it is larger than 1 MiB');

/** Whether that device is one of our mounts, by its line in proc_pid_mountinfo(5). */
async function isOnOurMount(dev: number): Promise<boolean> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts.split('\n').some((line) => {
    const [, , device = ''] = line.split(' ');
    return device === deviceName(dev) && line.includes(` - ${FS_TYPE} `);
  });
}

/** MAJOR:MINOR, as makedev(3) packs them. */
function deviceName(dev: number): string {
  const major = Math.floor(dev / 2 ** 8) % 2 ** 12;
  const minor = (dev % 2 ** 8) + Math.floor(dev / 2 ** 20) * 2 ** 8;
  return `${major}:${minor}`;
}
