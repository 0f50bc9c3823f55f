// usage: bind-over-link.mjs SOURCE LINK
//
// mount --bind over a symbolic link itself: mount(8) follows it, but not a descriptor of the link.
import { spawnSync } from 'node:child_process';
import { constants, openSync } from 'node:fs';

const [, , source, link] = process.argv;
const O_PATH = 0o10000000; // Node has no name for it.
const fd = openSync(link, O_PATH | constants.O_NOFOLLOW);
const bind = ['--no-canonicalize', '--bind', source, '/proc/self/fd/3'];
const { status } = spawnSync('mount', bind, { stdio: ['inherit', 'inherit', 'inherit', fd] });
process.exit(status ?? 1);
