/**
 * What the hypervisor has to say in words: __hyp_printk carries the number of a format and up to
 * four values, and whoever reads the trace puts them together. At most 255 formats.
 */
export const PRINTK_FORMATS = [
  'vm 0x%llx created with %llu vcpus',
  'vm 0x%llx gone, %llu of its pages to reclaim',
  'cpu %llu is up',
  'host denied access to 0x%llx',
  'guest 0x%llx fault injected at 0x%llx',
] as const;

export type PrintkFormat = (typeof PRINTK_FORMATS)[number];
