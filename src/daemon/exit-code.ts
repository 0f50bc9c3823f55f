/**
 * How a command ends, as sysexits.h numbers it:
 *
 *      0   all went well; the file system was unmounted
 *      64  a wrong option or argument
 *      65  a malformed scenario
 *      66  the mountpoint is missing, not a directory, not empty, in use, or not ours
 *      69  the machine lacks something: /dev/fuse, libfuse, fusermount
 *      70  a bug of ours; the log has its stack
 *      73  an output file that cannot be written
 *      77  no permission
 */
export const EXIT = {
  OK: 0,
  USAGE: 64,
  DATA: 65,
  NO_INPUT: 66,
  UNAVAILABLE: 69,
  SOFTWARE: 70,
  CANNOT_CREATE: 73,
  NO_PERMISSION: 77,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends the command with one line on stderr that says what to do. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly code: ExitCode;

  constructor(code: ExitCode, message: string) {
    super(message);
    this.code = code;
  }
}
