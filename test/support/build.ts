import { execFileSync } from 'node:child_process';

/** Tests of the mount run the built daemon: it must be of today. */
export default function build(): void {
  execFileSync('scripts/setup.sh', { stdio: 'inherit' });
}
