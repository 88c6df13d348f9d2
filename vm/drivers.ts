/**
 * The drivers there are, and the choice of the best that works on this host.
 */
import { ConfigError, Type2Error } from '../devices/errors.ts';
import { ENGINE_NAMES, type EngineDriver, type EngineName, type EngineSupport } from './engine.ts';
import { supportsKvm } from './warm-driver.ts';

/** `auto`, or a driver by name. */
export type EngineChoice = 'auto' | EngineName;

/** A driver that was looked at. */
export interface ProbedDriver {
  readonly name: EngineName;
  readonly support: EngineSupport;
  /** Undefined when not even its code could be loaded. */
  readonly driver: EngineDriver | undefined;
}

/** A driver that a machine can be made with. */
export interface ChosenDriver {
  readonly driver: EngineDriver;
  /** One line that says why it isn't a better one; empty when it is the best, or was asked for by name. */
  readonly notice: string;
}

/** Drivers are loaded when they are wanted: KVM's needs FFI, which not every host has. */
const LOADERS: Readonly<Record<EngineName, () => Promise<EngineDriver>>> = {
  kvm: async () => (await import('./kvm/driver.ts')).kvmDriver,
  jit: async () => (await import('./cpu/engine.ts')).jitDriver,
  interp: async () => (await import('./cpu/engine.ts')).interpDriver,
};

/** Looks at one driver. Never throws. */
export async function probeDriver(name: EngineName): Promise<ProbedDriver> {
  if (name === 'kvm' && !supportsKvm) {
    const reason = `KVM needs Linux on x86-64; this is ${process.platform} on ${process.arch}`;
    return { name, driver: undefined, support: { usable: false, reason, hint: '', capabilities: undefined } };
  }
  try {
    const driver = await LOADERS[name]();
    return { name, driver, support: driver.probe() };
  } catch (error) {
    const reason = `its code can't be loaded: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`;
    const hint = 'Run npm ci again, without --omit=optional.';
    return { name, driver: undefined, support: { usable: false, reason, hint, capabilities: undefined } };
  }
}

/**
 * Chooses a driver. By name, one that is not fit for Linux is taken all the same, if it can run at all.
 * @param virtualTime - only one whose runs are repeatable
 * @throws Type2Error with code `NO_ENGINE` when none works; ConfigError for one by name that has no virtual time
 */
export async function chooseDriver(choice: EngineChoice, virtualTime = false): Promise<ChosenDriver> {
  if (virtualTime && choice === 'kvm') {
    throw new ConfigError('a deterministic run needs virtual time, which kvm does not have', {
      hint: 'Use --engine jit or --engine interp.',
    });
  }
  if (choice !== 'auto') {
    const { driver, support } = await probeDriver(choice);
    if (driver === undefined || support.capabilities === undefined)
      throw noEngine([`${choice}: ${support.reason}`], support.hint);
    return { driver, notice: support.usable ? '' : `${choice}: ${support.reason}. ${support.hint}`.trim() };
  }
  const refused: ProbedDriver[] = [];
  for (const name of ENGINE_NAMES) {
    if (virtualTime && name === 'kvm') continue;
    const probed = await probeDriver(name);
    if (probed.driver !== undefined && probed.support.usable) {
      const notice = refused
        .map((other) => `${other.name}: ${other.support.reason} — running on ${name}`)
        .join('; ');
      return { driver: probed.driver, notice };
    }
    refused.push(probed);
  }
  throw noEngine(
    refused.map(({ name, support }) => `${name}: ${support.reason}`),
    refused[0]?.support.hint ?? '',
  );
}

function noEngine(reasons: readonly string[], hint: string): Type2Error {
  return new Type2Error('NO_ENGINE', `no engine works here: ${reasons.join('; ')}`, { hint });
}
