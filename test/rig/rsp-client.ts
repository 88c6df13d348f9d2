/**
 * A small client of GDB's remote serial protocol, for tests where there is no gdb, or where its own wits would
 * hide what the stub does.
 */
import { connect, type Socket } from 'node:net';
import { PacketReader, packet } from '../../src/gdb/packets.ts';

const RETRY_MS = 50;
const PATIENCE_MS = 60_000;

/** One connection. */
export class RspClient {
  private readonly socket: Socket;
  private readonly reader = new PacketReader();
  private readonly arrived: string[] = [];
  private wake: () => void = () => {};
  private closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      for (const incoming of this.reader.feed(chunk)) {
        if (incoming.type !== 'packet') continue;
        socket.write('+');
        this.arrived.push(incoming.data);
      }
      this.wake();
    });
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
    socket.on('error', () => {});
  }

  /** Connects as soon as something listens. */
  static async connect(port: number): Promise<RspClient> {
    const since = Date.now();
    for (;;) {
      const socket = connect(port, '127.0.0.1');
      const isConnected = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true));
        socket.once('error', () => resolve(false));
      });
      if (isConnected) return new RspClient(socket);
      if (Date.now() - since > PATIENCE_MS) throw new Error(`nothing listens on port ${port}`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** Sends a packet, and gives the answer to it. */
  async ask(data: string): Promise<string> {
    this.tell(data);
    return this.next();
  }

  /** Sends a packet that is answered later, or never. */
  tell(data: string): void {
    this.socket.write(packet(data));
  }

  /** Ctrl-C. */
  interrupt(): void {
    this.socket.write(Uint8Array.of(3));
  }

  /** The next packet. @throws Error when there is none for a long time */
  async next(): Promise<string> {
    const since = Date.now();
    while (this.arrived.length === 0) {
      if (this.closed) throw new Error('the connection was closed');
      if (Date.now() - since > PATIENCE_MS) throw new Error('no answer');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.arrived.shift()!;
  }

  /** A register of 32 or 64 bits by its number. */
  async register(number: number): Promise<bigint> {
    const text = await this.ask(`p${number.toString(16)}`);
    return Buffer.from(text, 'hex').reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Register numbers in our target descriptions. */
export const I386 = { eax: 0, ecx: 1, edx: 2, ebx: 3, esp: 4, esi: 6, edi: 7, eip: 8, eflags: 9 } as const;
export const X86_64 = { rax: 0, rsi: 4, rdi: 5, rsp: 7, r8: 8, rip: 16, eflags: 17 } as const;
