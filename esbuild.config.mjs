/**
 * Bundles the command line and the threads of the engines into one file each under dist/bin: loading two
 * hundred small modules would take longer than booting a guest. Paths between modules that are loaded by
 * URL (worker threads) hold, since all bundles lie in one folder.
 */
import { basename } from 'node:path';
import { build } from 'esbuild';

/** Modules that become files of their own, which other bundles load: so that they are loaded late, or once for all. */
const SHARED = ['src/cli/all-verbs.ts', 'src/cli/run-verb.ts', 'vm/warm-threads.ts'];

/** @type {import('esbuild').Plugin} */
const shared = {
  name: 'shared',
  setup({ onResolve }) {
    const names = new Set(SHARED.map((path) => basename(path)));
    onResolve({ filter: /\.ts$/ }, ({ path, kind }) =>
      kind !== 'entry-point' && names.has(basename(path))
        ? { path: `./${basename(path, '.ts')}.cjs`, external: true }
        : undefined,
    );
  },
};

/** @type {import('esbuild').BuildOptions} */
const options = {
  outdir: 'dist/bin',
  entryNames: '[name]',
  bundle: true,
  // CommonJS: in a worker, Node's loader of ECMAScript modules alone takes longer than all of this code.
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
  define: { 'import.meta.url': 'importMetaUrl' },
  banner: { js: "const importMetaUrl = require('node:url').pathToFileURL(__filename).href;" },
  platform: 'node',
  target: 'node20',
  // Native code and WebAssembly files are loaded from where they are installed.
  external: ['koffi', 'esbuild', 'iced-x86'],
  plugins: [shared],
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: true,
  logLevel: 'warning',
};

await build({
  ...options,
  entryPoints: [...SHARED, 'vm/kvm/vcpu-thread.ts', 'vm/kvm/device-thread.ts', 'vm/cpu/cpu-thread.ts'],
});
// What starts first loads the rest by require(): import() would load Node's ECMAScript loader first.
await build({ ...options, entryPoints: ['src/cli/main.ts'], supported: { 'dynamic-import': false } });
