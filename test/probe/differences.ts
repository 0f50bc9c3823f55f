/**
 * What the probe may find different between hypervisor/ and the host's own tracefs. The README has
 * a table with a row for each, whose first column is `what`.
 */
export interface Difference {
  readonly what: string;
  readonly questions: RegExp;
}

export const DIFFERENCES: readonly Difference[] = [
  { what: 'an empty write(2)', questions: /: write b''$/ },
  { what: '`events/enable` set to 2 to 255', questions: /^events\/enable: write b'2'$/ },
  { what: 'opening `trace` to read', questions: /^trace: open RDONLY$/ },
  {
    what: 'the size of a text file, SEEK_END',
    questions: /(?<!^trace_pipe): size$|: lseek END 0$/,
  },
  {
    what: 'the modes of `trace_pipe`, `trace_clock` and a CPU’s `trace`',
    questions: /^(trace_pipe|trace_clock|per_cpu\/cpu0\/trace): mode$/,
  },
  { what: 'a second reader', questions: /^pipe: open it again$/ },
  { what: 'a large read of a pipe', questions: /^pipe, backlog: a large read gives$/ },
  { what: 'ioctl(2) number 0', questions: /: ioctl 0$/ },
  { what: 'the size of a pipe', questions: /^trace_pipe: size$/ },
  { what: 'splice(2) from a pipe', questions: /^pipe: (read after the )?splice$/ },
  { what: 'splice(2) from a text file', questions: /^(tracing_on|trace_clock): splice$/ },
  { what: 'a handled signal with SA_RESTART', questions: /^pipe: a signal with SA_RESTART$/ },
  {
    what: 'the end of a pipe when tracing is off',
    questions: /^pipe, tracing off, something read before: read$/,
  },
  { what: 'epoll_ctl(2) on a text file', questions: /: epoll_ctl$/ },
];
