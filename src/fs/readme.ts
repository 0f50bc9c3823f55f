const INTRODUCTION = `\
tracing mini-HOWTO:

These are the trace events of a simulated pKVM hypervisor. All files below
work as those of the same name in the kernel's own tracefs.

# echo 1 > events/enable : switch all events on
# echo 1 > tracing_on    : start tracing
# cat trace_pipe         : show events as they happen
# echo 0 > tracing_on    : stop tracing
# echo > trace           : drop all events in the buffer

 Files:
`;

/** Each file, or directory with a section of its own, and what a reader can do with it. */
const FILES = {
  README: 'this text',
  available_events: 'the events that can be switched on',
  available_tracers: 'nop, the only tracer',
  buffer_size_kb: 'size of the buffer of each CPU',
  buffer_total_size_kb: 'size of the buffers of all CPUs',
  current_tracer: 'nop',
  error_log: 'why a write to a filter was refused; a write clears it',
  'events/enable': '1 switches all events on, 0 off',
  'events/header_event': 'layout of an entry in the raw pages',
  'events/header_page': 'layout of a raw page',
  'events/ftrace/print/format': 'format of an event that tools expect to be there',
  'events/hypervisor/enable': '1 switches the events of the hypervisor on, 0 off',
  'events/hypervisor/filter': 'sets the filter of all its events',
  'events/hypervisor/EVENT/enable': '1 switches one event on, 0 off',
  'events/hypervisor/EVENT/filter': 'shows only events whose fields match, 0 shows all',
  'events/hypervisor/EVENT/format': 'the fields of an event, and how it is printed',
  'events/hypervisor/EVENT/id': 'the number of an event in the raw pages',
  'events/hypervisor/EVENT/trigger': 'always empty',
  free_buffer: 'its last close drops all events in the buffer',
  'hypervisor/': 'the same buffer as the pKVM tracing series has it',
  'instances/hypervisor/': 'the same buffer as an instance',
  'options/OPTION': '1 sets an option, 0 clears it',
  'per_cpu/cpuN/stats': 'counts what a CPU has written, lost and had read',
  'per_cpu/cpuN/trace': 'trace of one CPU',
  'per_cpu/cpuN/trace_pipe': 'trace_pipe of one CPU',
  'per_cpu/cpuN/trace_pipe_raw': 'raw pages of one CPU; a read takes them',
  printk_formats: 'always empty',
  saved_cmdlines: 'names of the vCPU threads that have run',
  set_event: 'the events that are on; a write of a name switches one on',
  timestamp_mode: 'how an entry has its time',
  trace: 'all events in the buffer; a write drops them',
  trace_clock: 'boot, the only clock',
  trace_options: 'the options that are set',
  trace_pipe: 'waits for events and takes them from the buffer',
  tracing_cpumask: 'the CPUs whose events are shown',
  tracing_on: '1 while events are written to the buffer',
};

const SIM = { 'sim/': 'the simulated machine: its scenario, clock, CPUs and VMs' };

/** The top level's README, by which tools know a tracefs: it lists all files, and no others. */
export function readme(hasSim: boolean): string {
  const files = Object.entries({ ...FILES, ...(hasSim ? SIM : {}) });
  return INTRODUCTION + files.map(([path, text]) => `  ${path}\t- ${text}\n`).join('');
}
