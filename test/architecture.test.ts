import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';

/** Who may import whom. A folder may always import itself and the files at the top of src. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  ringbuffer: [],
  'hypervisor-sim': ['ringbuffer'],
  'host-sim': ['ringbuffer', 'hypervisor-sim', 'node:os'],
  fs: ['ringbuffer', 'node:fs', 'node:os', 'node:util'],
  daemon: ['ringbuffer', 'hypervisor-sim', 'host-sim', 'fs', 'node:*'],
  '.': ['node:os'],
};

/** What only these files may import besides. */
const EXCEPTIONS: Record<string, readonly string[]> = {
  'fuse-native': ['fs/fuse-mount.ts', 'fs/fuse-operations.ts'],
  pino: ['daemon/log.ts', 'daemon/daemon.ts', 'daemon/serve.ts'],
  commander: ['daemon/main.ts', 'daemon/options.ts'],
  'node:worker_threads': ['host-sim/pcpu-threads.ts', 'host-sim/pcpu-worker.ts'],
  'node:events': ['host-sim/pcpu-threads.ts', 'daemon/exec.ts', 'daemon/serve.ts'],
  protobufjs: ['daemon/perfetto-sink.ts'],
  yaml: ['host-sim/scenario-yaml.ts', 'host-sim/yaml-extent.ts'],
  valibot: [
    'host-sim/guest-schema.ts',
    'host-sim/scenario-file.ts',
    'host-sim/scenario-schema.ts',
    'host-sim/schema-parts.ts',
  ],
  'node:process': ['hypervisor-sim/counter.ts'], // The clock; it reads nothing else.
};

test.each(Object.keys(MAY_IMPORT))('src/%s imports only what it may', (folder) => {
  const allowed = new Set([folder, '.', ...(MAY_IMPORT[folder] ?? [])]);
  const trespasses = importsOf(folder).filter(({ file, target }) => {
    const only = EXCEPTIONS[target];
    if (only !== undefined) return !only.includes(file);
    return !allowed.has(target) && !(target.startsWith('node:') && allowed.has('node:*'));
  });
  expect(trespasses).toEqual([]);
});

test('`process` is the daemon’s alone', () => {
  const users = ['ringbuffer', 'hypervisor-sim', 'host-sim', 'fs', '.']
    .flatMap(filesOf)
    .filter((file) => /\bprocess\./.test(read(file)));
  expect(users).toEqual([]);
});

function importsOf(folder: string): { file: string; target: string }[] {
  const statement = /^(?:import|export)\b[^;]*?\bfrom '([^']+)';$/gm;
  const dynamic = /\bimport\('([^']+)'\)/g;
  return filesOf(folder).flatMap((file) =>
    [...read(file).matchAll(statement), ...read(file).matchAll(dynamic)].map(
      ([, specifier = '']) => ({ file, target: targetOf(file, specifier) }),
    ),
  );
}

const read = (file: string): string => readFileSync(join('src', file), 'utf8');

function filesOf(folder: string): string[] {
  const names = readdirSync(join('src', folder), {
    encoding: 'utf8',
    recursive: folder !== '.',
  });
  return names
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => join(folder, name));
}

function targetOf(file: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  return dirname(relative('.', join(dirname(file), specifier))).split('/')[0] ?? '.';
}
