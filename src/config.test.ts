/** The schema, and the way from flags to it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../devices/errors.ts';
import { type Flags, flagsToConfig } from './cli/flags.ts';
import { parseConfig, parseSize } from './config.ts';

const fromFlags = (flags: Flags) => parseConfig(flagsToConfig(flags), 'flags');

describe('configuration', () => {
  it('has a default for everything', () => {
    expect(parseConfig({})).toMatchObject({
      engine: 'auto',
      memory: 256 * 2 ** 20,
      disks: [],
      console: 'stdio',
    });
  });

  it.each([
    ['64M', 64 * 2 ** 20],
    ['1G', 2 ** 30],
    ['1.5g', 1.5 * 2 ** 30],
    ['512MiB', 512 * 2 ** 20],
    ['1048576', 2 ** 20],
  ])('reads %s as bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
    expect(parseConfig({ memory: text }).memory).toBe(bytes);
  });

  it.each([
    [{ memory: '12Q' }, /memory: '12Q' is no size/],
    [{ memory: '1K' }, /outside 1M to 64G/],
    [{ memory: '1T' }, /no size/],
    [{ cpus: 0 }, /cpus: expected 1 to 64/],
    [{ cpus: 1.5 }, /whole number/],
    [{ cpus: '2' }, /expected a number/],
    [{ engine: 'vmware' }, /engine: expected auto or kvm/],
    [{ kernle: 'x' }, /no field 'kernle'/],
    [{ disks: [{}] }, /disks.0.path is missing/],
    [{ disks: [{ path: 'x', id: 'a b' }] }, /printable ASCII/],
    [{ nets: [{ tap: 'a-name-that-is-too-long' }] }, /at most 15 bytes/],
    [{ nets: [{ tap: 'a', mac: '01:00:00:00:00:00' }] }, /multicast/],
    [{ nets: [{ tap: 'a' }, { tap: 'a' }] }, /named twice/],
    [{ devices: [{ port: 1 }] }, /devices.0.path is missing/],
    [{ devices: [{ path: 'a.ts', port: 0x1_0000 }] }, /device: port: expected 0 to 65535/],
    [{ devices: [{ path: 'a.ts', irq: 0 }] }, /device: irq: expected 1 to 23/],
    [{ devices: [{ path: 'a.ts', name: 'a b' }] }, /device: name is/],
    [{ timeout: 0 }, /more than 0/],
    [{ console: 'tty' }, /console/],
    [{ append: 5 }, /append/],
    [null, /configuration/],
    ['text', /configuration/],
  ])('refuses %j', (input, message) => {
    expect(() => parseConfig(input)).toThrow(ConfigError);
    expect(() => parseConfig(input)).toThrow(message);
  });

  it('says all that is wrong at once', () => {
    expect(() => parseConfig({ cpus: 0, memory: 'x' })).toThrow(/cpus.*memory|memory.*cpus/);
  });

  it('throws nothing but ConfigError, whatever it gets', () => {
    let cases = 0;
    fc.assert(
      fc.property(
        fc.oneof(
          fc.jsonValue(),
          fc.record(
            {
              memory: fc.jsonValue(),
              disks: fc.jsonValue(),
              nets: fc.jsonValue(),
              cpus: fc.jsonValue(),
              console: fc.jsonValue(),
            },
            { requiredKeys: [] },
          ),
        ),
        (input) => {
          cases++;
          try {
            parseConfig(input);
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError);
          }
        },
      ),
      { numRuns: 500 },
    );
    expect(cases).toBeGreaterThanOrEqual(500);
  });
});

describe('flags', () => {
  it('set fields of the configuration', () => {
    expect(
      fromFlags({
        memory: '64M',
        cpus: '2',
        disk: ['a.img', 'b.img,readonly,id=data'],
        net: ['tap=tap0,mac=52:54:00:00:00:01'],
        device: ['./a.ts', 'b.js,port=0x300,irq=10,name=b'],
        console: 'file=out.log',
        reboot: false,
        timeout: '1.5',
      }),
    ).toMatchObject({
      memory: 64 * 2 ** 20,
      cpus: 2,
      disks: [
        { path: 'a.img', readonly: false },
        { path: 'b.img', readonly: true, id: 'data' },
      ],
      nets: [{ tap: 'tap0', mac: '52:54:00:00:00:01' }],
      devices: [{ path: './a.ts' }, { path: 'b.js', port: 0x300, irq: 10, name: 'b' }],
      console: { path: 'out.log' },
      onReset: 'end',
      timeout: 1.5,
    });
  });

  it('--net none is no interface', () => {
    expect(fromFlags({ net: ['none'] }).nets).toEqual([]);
  });

  it.each([
    [{ cpus: 'two' }, /--cpus: 'two' is no number/],
    [{ disk: ['a.img,readnly'] }, /--disk: 'readnly' is not known here: there are readonly, id=/],
    [{ disk: ['a.img,id=a,id=b'] }, /given twice/],
    [{ net: ['user'] }, /--net/],
    [{ net: ['mac=52:54:00:00:00:01'] }, /names no tap/],
    [{ console: 'pty' }, /none of stdio, none, file=PATH/],
    [{ timeout: '' }, /no number/],
  ])('refuse %j', (flags, message) => {
    expect(() => fromFlags(flags)).toThrow(message);
  });
});
