import { destination, type Logger, pino } from 'pino';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** The log, on stderr: stdout is for what scripts read. */
export function createLog(level: string): Logger {
  const stderr = destination({ fd: 2, sync: true });
  // A detached daemon outlives the terminal, or whatever else read its log.
  stderr.on('error', () => {});
  return pino({ name: 'pkvm-tracefs', level }, stderr);
}
