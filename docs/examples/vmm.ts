/** A VMM of thirty lines: boots a guest, answers it on its console, and looks at it when it has ended. */
import { Vm } from 'type2';

await using vm = await Vm.create({
  memory: '128M',
  append: 'console=ttyS0 quiet',
  devices: [{ path: 'docs/examples/metronome.ts' }],
});
if (vm.notice !== '') console.error(vm.notice);

let typed = false;
let printed = '';
vm.console.output.on('data', (bytes: Buffer) => {
  process.stdout.write(bytes);
  printed += bytes.toString('latin1'); // the prompt may come in two pieces
  if (typed || !printed.includes('# ')) return;
  typed = true; // at the shell's first prompt
  vm.console.input.write('devmem 0xd0100000 32 6000; sleep 1; devmem 0xd0100004; poweroff\n');
});

vm.on('stopped', () => {
  const { vcpus, devices } = vm.inspect();
  console.log(`\nCPU 0 is in ${vcpus[0]?.mode} mode at 0x${vcpus[0]?.registers.rip.toString(16)}`);
  console.log('metronome:', devices['metronome']);
});
vm.on('exit', ({ kind }) => console.log(`the run ended: ${kind}`));

const patience = setTimeout(() => void vm.stop('timeout'), 60_000);
await vm.start();
await vm.ended;
clearTimeout(patience);
console.log(vm.statistics().exits);
