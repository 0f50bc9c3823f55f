import { ErrnoError } from '../errno.ts';
import { formatSwitch, parseSwitch, textOf } from './kstrto.ts';
import { byName, type Dir, dir, type File, showStore } from './nodes.ts';

/** The options of the kernel's that mean something for events of a hypervisor, as they are at first. */
const DEFAULTS = {
  /** Lines of text begin with task, CPU and time. */
  'context-info': true,
  /** Closing free_buffer stops tracing. */
  disable_on_free: false,
  /** Of the function tracer, which there is not. Tools save and restore it. */
  'function-trace': true,
  /** Lines and their header have the column of latency flags. */
  'irq-info': true,
  /** A full ring drops its oldest events. The hypervisor's does always. */
  overwrite: true,
} as const;

export type TraceOption = keyof typeof DEFAULTS;
const NAMES = Object.keys(DEFAULTS) as TraceOption[];

/** The options of an instance, as options/ and trace_options show and set them. */
export class TraceOptions {
  readonly #on = new Set(NAMES.filter((name) => DEFAULTS[name]));

  isOn(option: TraceOption): boolean {
    return this.#on.has(option);
  }

  /** trace_options: a name sets one, a name with `no` before it unsets it. */
  get all(): File {
    return showStore(
      () => NAMES.map((name) => `${this.isOn(name) ? '' : 'no'}${name}\n`).join(''),
      (written) => {
        const text = textOf(written);
        const option = NAMES.find((name) => text === name || text === `no${name}`);
        if (option === undefined) throw new ErrnoError('EINVAL', `no option: ${text}`);
        this.#set(option, text === option);
      },
    );
  }

  /** options/: a file for each, `0` or `1`. */
  get each(): Dir {
    return dir(
      byName(
        NAMES,
        (name) => name,
        (name) =>
          showStore(
            () => formatSwitch(this.isOn(name)),
            (written) => this.#set(name, parseSwitch(written)),
          ),
      ),
    );
  }

  #set(option: TraceOption, on: boolean): void {
    if (option === 'overwrite' && !on) throw new ErrnoError('EINVAL', 'the rings always overwrite');
    if (on) this.#on.add(option);
    else this.#on.delete(option);
  }
}
