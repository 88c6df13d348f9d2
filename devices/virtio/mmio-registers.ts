/**
 * Names of the virtio-mmio transport's registers (virtio 1.2, table 4.1) and of the bits in them.
 */
import { bitNames, type Register } from '../registers.ts';

const INTERRUPT = bitNames('used-buffer configuration-change');
/** 2.1 */
const STATUS = bitNames('ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK - - DEVICE_NEEDS_RESET FAILED');

export const VIRTIO_MMIO_REGISTERS: readonly Register[] = [
  { offset: 0x000, length: 4, name: 'MagicValue' },
  { offset: 0x004, length: 4, name: 'Version' },
  { offset: 0x008, length: 4, name: 'DeviceID' },
  { offset: 0x00c, length: 4, name: 'VendorID' },
  { offset: 0x010, length: 4, name: 'DeviceFeatures' },
  { offset: 0x014, length: 4, name: 'DeviceFeaturesSel', state: 'deviceFeaturesSel' },
  { offset: 0x020, length: 4, name: 'DriverFeatures', state: 'driverFeatures' },
  { offset: 0x024, length: 4, name: 'DriverFeaturesSel', state: 'driverFeaturesSel' },
  { offset: 0x030, length: 4, name: 'QueueSel', state: 'queueSel' },
  { offset: 0x034, length: 4, name: 'QueueNumMax' },
  { offset: 0x038, length: 4, name: 'QueueNum' },
  { offset: 0x044, length: 4, name: 'QueueReady' },
  { offset: 0x050, length: 4, name: 'QueueNotify' },
  { offset: 0x060, length: 4, name: 'InterruptStatus', state: 'interruptStatus', bits: INTERRUPT },
  { offset: 0x064, length: 4, name: 'InterruptACK', only: 'write', bits: INTERRUPT },
  { offset: 0x070, length: 4, name: 'Status', state: 'status', bits: STATUS },
  { offset: 0x080, length: 4, name: 'QueueDescLow' },
  { offset: 0x084, length: 4, name: 'QueueDescHigh' },
  { offset: 0x090, length: 4, name: 'QueueDriverLow' },
  { offset: 0x094, length: 4, name: 'QueueDriverHigh' },
  { offset: 0x0a0, length: 4, name: 'QueueDeviceLow' },
  { offset: 0x0a4, length: 4, name: 'QueueDeviceHigh' },
  { offset: 0x0ac, length: 4, name: 'SHMSel' },
  { offset: 0x0b0, length: 4, name: 'SHMLenLow' },
  { offset: 0x0b4, length: 4, name: 'SHMLenHigh' },
  { offset: 0x0b8, length: 4, name: 'SHMBaseLow' },
  { offset: 0x0bc, length: 4, name: 'SHMBaseHigh' },
  { offset: 0x0fc, length: 4, name: 'ConfigGeneration', state: 'configGeneration' },
  { offset: 0x100, length: 0xf00, name: 'Config' },
];
