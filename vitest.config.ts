import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{src,vm,devices,bench,guests,test}/**/*.test.ts'],
    exclude: ['test/rig/**', 'dist/**', 'node_modules/**'],
    testTimeout: 20_000,
  },
});
