import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{src,vm,devices,bench,guests,test}/**/*.test.ts'],
    exclude: ['test/rig/suite/**', 'dist/**', 'node_modules/**'],
    testTimeout: 20_000,
    // Most tests wait for a guest in another process.
    maxWorkers: Math.max(2, availableParallelism()),
  },
});
