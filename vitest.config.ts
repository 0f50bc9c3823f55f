import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    restoreMocks: true,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/mount/**', 'test/fuzz/**'],
          testTimeout: 15_000,
        },
      },
      {
        test: {
          name: 'mount',
          include: ['test/mount/**/*.test.ts'],
          globalSetup: 'test/support/build.ts',
          // Real mounts and real processes, on machines with two cores: one file at a time.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'fuzz',
          include: ['test/fuzz/**/*.test.ts'],
          globalSetup: 'test/support/build.ts',
          testTimeout: 60_000,
        },
      },
    ],
  },
});
