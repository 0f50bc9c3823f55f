import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { getPageImage, pageEvents } from '../../src/ringbuffer/page-image.ts';
import { PAGE_SIZE } from '../../src/units.ts';
import { TestMachine } from '../support/machine.ts';

const VIEWS = ['', '/instances/hypervisor'];
const PRINTK = 'events/hypervisor/__hyp_printk';

const idIn = (format: string): number => Number(/^ID: (\d+)$/m.exec(format)?.[1]);

/** The events on the first page that the top level gives of CPU 0. */
async function firstPage(machine: TestMachine): Promise<Buffer[]> {
  const fd = await machine.open('../per_cpu/cpu0/trace_pipe_raw', constants.O_RDONLY);
  const page = Buffer.from(await machine.read(fd, PAGE_SIZE), 'latin1');
  await machine.close(fd);
  const image = getPageImage(page);
  return [...pageEvents(image)].map(({ at }) => Buffer.from(image.data).subarray(at));
}

describe('the events of a whole tracefs', () => {
  test('have ids that no kernel has, and those of hypervisor/ stay as they are', async () => {
    const machine = new TestMachine();
    const names = machine.fs.readdir('/hypervisor/events/hypervisor');
    for (const [index, name] of names.entries()) {
      for (const view of VIEWS) {
        const dir = `..${view}/events/hypervisor/${name}`;
        expect(await machine.cat(`${dir}/id`)).toBe(`${60_001 + index}\n`);
        expect(idIn(await machine.cat(`${dir}/format`))).toBe(60_001 + index);
      }
      expect(await machine.cat(`events/hypervisor/${name}/id`)).toBe(`${1_001 + index}\n`);
    }
  });

  test('carry the text of __hyp_printk, as its format says', async () => {
    const machine = new TestMachine();
    await machine.write('events/hypervisor/__hyp_printk/enable', '1');
    await machine.startTracing();
    machine.hypervisor.cpu(0).printk('vm 0x%llx gone, %llu of its pages to reclaim', 0x1001, 12);
    machine.hypervisor.cpu(0).printk('cpu %llu is up', 1);

    const format = await machine.cat(`../${PRINTK}/format`);
    expect(format).toContain(
      '\tfield:u64 d;\toffset:33;\tsize:8;\tsigned:0;\n' +
        '\tfield:__data_loc char[] msg;\toffset:41;\tsize:4;\tsigned:0;\n\n' +
        'print fmt: "%s", __get_str(msg)\n',
    );
    const events = await firstPage(machine);
    const texts = events.map((entry) => {
      const msg = entry.readUInt32LE(41);
      return entry.toString('latin1', msg & 0xffff, (msg & 0xffff) + (msg >>> 16));
    });
    expect(texts).toEqual(['vm 0x1001 gone, 12 of its pages to reclaim\0', 'cpu 1 is up\0']);
    expect(events.map((entry) => entry.readUInt16LE(0))).toEqual([60_001, 60_001]);
    expect(events.map((entry) => entry.readBigUInt64LE(9))).toEqual([0x1001n, 1n]);
  });

  test('leave __hyp_printk in hypervisor/ without its text', async () => {
    const machine = new TestMachine();
    const format = await machine.cat(`${PRINTK}/format`);
    expect(format).not.toContain('msg');
    expect(format).toContain('print fmt: "Unknown"\n');
  });
});
