/**
 * Bundles the command line and the threads of the engines into one file each under dist/bin: loading two
 * hundred small modules would take longer than booting a guest. Paths between modules that are loaded by
 * URL (worker threads) hold, since all bundles lie in one folder.
 */
import { build } from 'esbuild';

await build({
  entryPoints: [
    'src/cli/main.ts',
    'vm/kvm/vcpu-thread.ts',
    'vm/kvm/device-thread.ts',
    'vm/cpu/cpu-thread.ts',
  ],
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
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: true,
  logLevel: 'warning',
});
