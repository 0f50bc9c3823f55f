import { ErrnoError } from '../errno.ts';
import { PAGE_SIZE } from '../units.ts';
import type { ErrorLog } from './error-log.ts';
import { FilterError, type FilteredEvent, type Predicate, parseFilter } from './event-filter.ts';
import { textOf } from './kstrto.ts';
import type { RemoteEvent } from './trace-remote.ts';

const NONE = 'none';
/** What clears a filter. */
const CLEAR = '0';

const SYSTEM_HEADER = `\
### global filter ###
# Use this to set filters for multiple events.
# Only events with the given fields will be affected.
# If no events are modified, an error message will be displayed here
`;
const NOT_SET = new FilterError("Couldn't find or set field in one of a subsystem's events", 0);

interface Filter {
  /** The text, and below it what is wrong with it. */
  readonly shown: string;
  /** Undefined for what was refused: all events pass. */
  readonly passes: Predicate | undefined;
}

/** The filters of an instance's events, as their files set them. */
export class EventFilters {
  readonly #filters = new Map<number, Filter>();
  readonly #errors: ErrorLog;
  #system = NONE;

  constructor(errors: ErrorLog) {
    this.#errors = errors;
  }

  shown({ id }: RemoteEvent): string {
    return `${this.#filters.get(id)?.shown ?? NONE}\n`;
  }

  get systemShown(): string {
    return this.#system === NONE ? `${NONE}\n` : `${SYSTEM_HEADER}${this.#system}\n`;
  }

  /** @throws ErrnoError what the kernel refuses the filter with; it then passes all events. */
  set(event: RemoteEvent, written: Uint8Array): void {
    const text = filterText(written);
    if (text === CLEAR) {
      this.#filters.delete(event.id);
      return;
    }
    try {
      this.#filters.set(event.id, { shown: text, passes: parseFilter(text, event.fields) });
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      this.#filters.set(event.id, { shown: error.shown(text), passes: undefined });
      this.#log(error, text);
      throw new ErrnoError(error.errno, error.message);
    }
  }

  /**
   * Sets the filter of each event that has the fields, and shows it if no event has them.
   *
   * @throws ErrnoError EINVAL for a text that is too long, and for nothing else.
   */
  setAll(events: readonly RemoteEvent[], written: Uint8Array): void {
    const text = filterText(written);
    const set = events.filter((event) => {
      try {
        const passes = text === CLEAR ? undefined : parseFilter(text, event.fields);
        if (passes) this.#filters.set(event.id, { shown: text, passes });
        else this.#filters.delete(event.id);
        return true;
      } catch (error) {
        if (!(error instanceof FilterError)) throw error;
        this.#log(NOT_SET, text);
        return false;
      }
    });
    if (text === CLEAR) this.#system = NONE;
    else this.#system = set.length > 0 ? text : NOT_SET.shown(text);
  }

  #log(error: FilterError, text: string): void {
    this.#errors.add('event filter parse error', error.message, text, error.caret(text));
  }

  passes(id: number, event: FilteredEvent): boolean {
    return this.#filters.get(id)?.passes?.(event) ?? true;
  }

  get any(): boolean {
    return this.#filters.size > 0;
  }
}

/** The kernel takes less than a page, blanks included; what is longer changes nothing. */
function filterText(written: Uint8Array): string {
  if (written.length >= PAGE_SIZE) throw new ErrnoError('EINVAL', 'a filter is less than a page');
  return textOf(written);
}
