import { execFile } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { EXIT, ExitError } from './exit-code.ts';

/** The file system type of our mounts, as /proc/mounts has it; fs/fuse-mount.ts sets it. */
export const FS_TYPE = 'fuse.pkvm-tracefs';

const FUSE_DEVICE = '/dev/fuse';
const FUSERMOUNT = 'fusermount';

/** @throws ExitError when this machine or this user cannot mount. */
export function checkFuse(): void {
  if (!existsSync(FUSE_DEVICE))
    throw new ExitError(EXIT.UNAVAILABLE, 'no /dev/fuse: load the fuse module (modprobe fuse)');
  try {
    accessSync(FUSE_DEVICE, constants.R_OK | constants.W_OK);
  } catch {
    throw new ExitError(
      EXIT.NO_PERMISSION,
      'no access to /dev/fuse: run as root, or chmod it 0666',
    );
  }
  const { PATH = '' } = process.env;
  if (!PATH.split(':').some((dir) => existsSync(join(dir, FUSERMOUNT))))
    throw new ExitError(EXIT.UNAVAILABLE, 'no fusermount: apt install fuse');
}

/** The directory itself, where `dir` is a way to it. */
export function canonical(dir: string): string {
  try {
    return realpathSync(dir);
  } catch {
    return resolve(dir); // What is wrong with it shows later.
  }
}

/**
 * Makes sure that `dir` can be mounted on, and clears a mount of ours whose daemon was killed.
 *
 * @throws ExitError that says what is wrong with it.
 */
export async function checkMountpoint(dir: string): Promise<void> {
  if (isStale(dir)) await unmount(dir);
  const problem = problemOf(dir);
  if (problem !== undefined) throw new ExitError(EXIT.NO_INPUT, `${dir} ${problem}`);
}

function problemOf(dir: string): string | undefined {
  try {
    if (isOurs(dir)) return 'is mounted already: umount it, or take another directory';
    if (!statSync(dir).isDirectory()) return 'is not a directory';
    if (readdirSync(dir).length > 0) return 'is not empty: take an empty directory';
    return undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 'does not exist: mkdir it first';
    return `cannot be used: ${(error as Error).message}`;
  }
}

/** Whether one of our mounts is at `dir`, its daemon alive or not. */
export const isOurs = (dir: string): boolean => deviceAt(dir) !== undefined;

/** The file system of a mount of ours at `dir`; undefined when there is none. */
export const deviceAt = (dir: string): string | undefined =>
  mounts().findLast(({ path, type }) => path === dir && type === FS_TYPE)?.device;

/** Where else a file system is mounted than at `dir`: a directory above that may have been renamed. */
export const otherPaths = (device: string, dir: string): string[] =>
  mounts()
    .filter((mount) => mount.device === device && mount.path !== dir)
    .map(({ path }) => path);

/** A mount whose daemon is gone answers ENOTCONN. */
function isStale(dir: string): boolean {
  try {
    statSync(dir);
    return false;
  } catch (error) {
    return codeOf(error) === 'ENOTCONN' && isOurs(dir);
  }
}

/**
 * Unmounts `dir`; what is still in use goes from sight now and for good when it is closed.
 *
 * @throws ExitError
 */
export async function unmount(dir: string): Promise<void> {
  try {
    await promisify(execFile)(FUSERMOUNT, ['-u', '-z', '--', dir]);
  } catch (error) {
    throw new ExitError(EXIT.NO_PERMISSION, `${dir} cannot be unmounted: ${stderrOf(error)}`);
  }
}

/** A mount that this process can see. */
export interface Mount {
  readonly path: string;
  readonly type: string;
  /** The file system's, which all its mounts have in common: major and minor number. */
  readonly device: string;
}

/** All mounts, as proc(5) describes mountinfo. */
export function mounts(): Mount[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [mount = '', fileSystem = ''] = line.split(' - ');
      const [, , device = '', , path = ''] = mount.split(' ');
      const [type = ''] = fileSystem.split(' ');
      return { path: unescapeOctal(path), type, device };
    });
}

/** Blanks and backslashes in a path are written as \040 and the like: proc(5). */
const unescapeOctal = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );

/** Writes a path as it stands in a list of mounts. */
export const escapeOctal = (path: string): string =>
  path.replace(/[ \t\n\\#]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function stderrOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  return (stderr || message).trim();
}
