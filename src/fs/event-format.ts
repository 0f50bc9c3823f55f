import { PAGE_DATA, PAGE_DATA_SIZE } from '../ringbuffer/buffer-page.ts';
import {
  RINGBUF_TYPE_DATA_TYPE_LEN_MAX,
  RINGBUF_TYPE_PADDING,
  RINGBUF_TYPE_TIME_EXTEND,
  RINGBUF_TYPE_TIME_STAMP,
} from '../ringbuffer/event-header.ts';
import type { RemoteEvent, RemoteField } from './trace-remote.ts';

const field = (type: string, name: string, offset: number, size: number, signed = false) => ({
  type,
  name,
  offset,
  size,
  signed,
});

const COMMON_TYPE = field('unsigned short', 'common_type', 0, 2);

/** What an entry starts with in hypervisor/: its event's id. */
export const STRICT_COMMON: readonly RemoteField[] = [COMMON_TYPE];
/** And in an instance, as all entries of the kernel's own. */
export const FULL_COMMON: readonly RemoteField[] = [
  COMMON_TYPE,
  field('unsigned char', 'common_flags', 2, 1),
  field('unsigned char', 'common_preempt_count', 3, 1),
  field('int', 'common_pid', 4, 4, true),
];

const NO_PRINT_FMT = '"Unknown"';

/** The text of events/SYSTEM/EVENT/format, from which tools learn how to read an entry. */
export function eventFormat(
  { name, id, fields, printFmt }: Pick<RemoteEvent, 'name' | 'id' | 'fields' | 'printFmt'>,
  common = STRICT_COMMON,
): string {
  const shift = sizeOf(common) - sizeOf(STRICT_COMMON);
  const shifted = fields.map((each) => ({ ...each, offset: each.offset + shift }));
  return [
    `name: ${name}`,
    `ID: ${id}`,
    'format:',
    ...common.map(fieldLine),
    '',
    ...shifted.map(fieldLine),
    ...(fields.length > 0 ? [''] : []),
    `print fmt: ${printFmt ?? NO_PRINT_FMT}`,
    '',
  ].join('\n');
}

/** Of fields that follow each other without gaps. */
export const sizeOf = (fields: readonly RemoteField[]): number =>
  fields.reduce((size, each) => size + each.size, 0);

function fieldLine({ type, name, offset, size, signed }: RemoteField): string {
  return `\tfield:${type} ${name};\toffset:${offset};\tsize:${size};\tsigned:${signed ? 1 : 0};`;
}

/** events/header_page: the header of a page image. */
export const HEADER_PAGE = `\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:${PAGE_DATA};\tsize:${PAGE_DATA_SIZE};\tsigned:0;
`;

/** events/header_event: the header of each event on it. */
export const HEADER_EVENT = `\
# compressed entry header
\ttype_len    :    5 bits
\ttime_delta  :   27 bits
\tarray       :   32 bits

\tpadding     : type == ${RINGBUF_TYPE_PADDING}
\ttime_extend : type == ${RINGBUF_TYPE_TIME_EXTEND}
\ttime_stamp : type == ${RINGBUF_TYPE_TIME_STAMP}
\tdata max type_len  == ${RINGBUF_TYPE_DATA_TYPE_LEN_MAX}
`;
