export const KIB = 1024;
export const MIB = 1024 * KIB;

export const NS_PER_US = 1_000;
export const NS_PER_MS = 1_000_000;
export const NS_PER_S = 1_000_000_000;
export const US_PER_S = 1_000_000;
export const MS_PER_S = 1_000;

/** Arm's smallest translation granule, and the only page size here. */
export const PAGE_SIZE = 4096;

export const pageAligned = (value: number): boolean => value % PAGE_SIZE === 0;
export const pagesFor = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);
