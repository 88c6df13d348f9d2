/**
 * The TCP server of `--gdb`: one gdb at a time, for as long as the machine lives.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { HostError } from '../../devices/errors.ts';
import { codeSize, Debugger } from '../../vm/debug/debugger.ts';
import type { Machine } from '../../vm/machine.ts';
import { PacketReader, packet } from './packets.ts';
import type { GdbArch } from './registers.ts';
import { GdbStub } from './stub.ts';

/** What gdb is told, by the bits of the code that the vCPU runs. */
const ARCH_OF_CODE = { 16: 'i8086', 32: 'i386', 64: 'x86-64' } as const;

/** Where gdb connects. */
export interface GdbAddress {
  readonly host: string;
  readonly port: number;
  /** What gdb is told the machine is; absent for what the vCPU runs when gdb connects. */
  readonly arch?: GdbArch | undefined;
}

/** Listens for gdb. */
export class GdbServer {
  /** Port that is listened on: of interest when 0 was asked for. */
  readonly port: number;
  private readonly server: Server;
  private readonly machine: Machine;
  private readonly address: GdbAddress;
  private session:
    | { readonly socket: Socket; readonly stub: GdbStub; readonly debugger: Debugger }
    | undefined;

  private constructor(server: Server, machine: Machine, address: GdbAddress) {
    this.server = server;
    this.machine = machine;
    this.address = address;
    const bound = server.address();
    this.port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
    server.on('connection', (socket) => void this.accept(socket));
  }

  /** @throws HostError when the address can't be listened on */
  static async listen(machine: Machine, address: GdbAddress): Promise<GdbServer> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) =>
        reject(
          new HostError('GDB_LISTEN', `--gdb ${address.host}:${address.port}: ${cause.message}`, {
            hint:
              cause.code === 'EADDRINUSE'
                ? 'Something else listens there: name another port.'
                : 'Name an address of this host, such as 127.0.0.1:1234.',
            cause,
          }),
        ),
      );
      server.listen(address.port, address.host, resolve);
    });
    return new GdbServer(server, machine, address);
  }

  /** The run has ended: gdb is told, and nobody is listened to any more. @param status - as the process's */
  close(status: number): void {
    this.session?.stub.ended(status);
    this.session?.socket.end();
    this.server.close();
  }

  private async accept(socket: Socket): Promise<void> {
    if (this.session !== undefined) {
      socket.end();
      return;
    }
    socket.setNoDelay(true);
    // Bytes that come before the machine stands wait in the socket.
    socket.pause();
    const target = new Debugger(this.machine);
    await target.interrupt();
    const arch = this.address.arch ?? ARCH_OF_CODE[codeSize(target.state(0))];
    this.session = { socket, debugger: target, stub: this.serve(socket, target, arch) };
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      this.session = undefined;
      // A machine that has ended has nothing to detach from.
      if (this.server.listening) target.detach();
    });
    socket.resume();
  }

  private serve(socket: Socket, target: Debugger, arch: GdbArch): GdbStub {
    let acknowledges = true;
    const stub = new GdbStub(
      target,
      {
        send: (data) => {
          if (!socket.destroyed) socket.write(packet(data));
        },
        stopAcknowledging: () => {
          acknowledges = false;
        },
        close: () => socket.end(),
      },
      arch,
    );
    target.on('stop', (stop) => stub.stopped(stop));
    const reader = new PacketReader();
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const incoming of reader.feed(chunk)) {
          if (incoming.type === 'interrupt') stub.interrupt();
          else if (incoming.type === 'garbled') socket.write('-');
          else {
            if (acknowledges) socket.write('+');
            stub.handle(incoming.data);
          }
        }
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        socket.destroy();
      }
    });
    return stub;
  }
}
