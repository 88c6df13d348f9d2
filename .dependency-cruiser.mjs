/** The arrows of the house: src → vm → devices, never back, and no circles. See ARCHITECTURE.md. */
export default {
  forbidden: [
    {
      name: 'no-circles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'devices-know-nothing-above',
      severity: 'error',
      from: { path: '^devices/' },
      to: { path: '^(vm|src|bench|test)/' },
    },
    {
      name: 'vm-knows-no-face',
      severity: 'error',
      from: { path: '^vm/' },
      to: { path: '^(src|bench|test)/' },
    },
    {
      name: 'src-knows-no-tests',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(bench|test)/' },
    },
    {
      name: 'kvm-and-cpu-are-strangers',
      severity: 'error',
      from: { path: '^vm/kvm/' },
      to: { path: '^vm/cpu/' },
    },
    {
      name: 'cpu-and-kvm-are-strangers',
      severity: 'error',
      from: { path: '^vm/cpu/' },
      to: { path: '^vm/kvm/' },
    },
    {
      name: 'the-cpu-loads-no-ffi',
      comment: 'The TypeScript CPU runs where there is no koffi.',
      severity: 'error',
      from: { path: '^vm/cpu/' },
      to: { path: '(node_modules/koffi|^devices/host/)', reachable: true },
    },
    {
      name: 'koffi-has-one-door',
      severity: 'error',
      from: { pathNot: '^(devices/host/|test/)' },
      to: { path: 'node_modules/koffi' },
    },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: '(\\.test|\\.d)\\.ts$|^(bench|test)/' },
      to: {},
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true, pathNot: '^type2$' } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
