/**
 * epoll(7) with a handler for each descriptor: the device thread's way to wait.
 */
import * as libc from '../../devices/host/libc.ts';

/** struct epoll_event is packed on x86-64: u32 events, u64 data. */
const EVENT_SIZE = 12;
/** Most events taken in one call. */
const BATCH = 64;

export class Epoll {
  private readonly fd = libc.check(libc.epoll_create1(libc.O_CLOEXEC), 'epoll_create1');
  private readonly events = libc.nativeBuffer(BATCH * EVENT_SIZE);
  private readonly request = libc.nativeBuffer(EVENT_SIZE);
  private readonly counter = libc.nativeBuffer(8);
  /** By descriptor: small numbers, so an array is a table. */
  private readonly handlers: ((() => void) | undefined)[] = [];

  /** Calls `handler` whenever `fd` is readable. Level-triggered. */
  add(fd: number, handler: () => void): void {
    this.handlers[fd] = handler;
    this.request.data.setUint32(0, libc.EPOLLIN, true);
    this.request.data.setUint32(4, fd, true);
    libc.check(libc.epoll_ctl(this.fd, libc.EPOLL_CTL_ADD, fd, this.request.address), 'epoll_ctl');
  }

  remove(fd: number): void {
    this.handlers[fd] = undefined;
    libc.epoll_ctl(this.fd, libc.EPOLL_CTL_DEL, fd, this.request.address);
  }

  /** Waits up to `timeout` milliseconds (−1: for ever) and calls the handlers of what is readable. Hot path. */
  wait(timeout: number): void {
    const count = libc.epoll_wait(this.fd, this.events.address, BATCH, timeout);
    // EINTR, and nothing else, can happen here: then there is nothing to do.
    for (let i = 0; i < count; i++) {
      const fd = this.events.data.getUint32(i * EVENT_SIZE + 4, true);
      this.handlers[fd]?.();
    }
  }

  /** Takes the count of an eventfd, so that it is no longer readable. */
  drain(eventfd: number): void {
    libc.read(eventfd, this.counter.address, 8);
  }

  close(): void {
    libc.close(this.fd);
    this.events.free();
    this.request.free();
    this.counter.free();
  }
}
