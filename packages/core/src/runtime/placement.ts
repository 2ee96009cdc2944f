import type { CpuDevice, MemoryPool } from "@shardgrad/workers";
import type { PlacedDeviceOptions } from "../placement/options.js";
import { PlacedDevice } from "../placement/placed-device.js";
import type { VariablePlacement } from "../placement/policy.js";
import type { RuntimeOptions } from "./options.js";

/** Where the variables of a runtime live. */
export interface Placement {
  /** Kind and name of the device beside the CPU; null while there is none. */
  readonly device: { readonly kind: string; readonly description: string } | null;
  /** Why there is none: a line for each that was tried. Empty while none was. */
  readonly reasons: readonly string[];
  /** Bytes held on the device. */
  readonly deviceBytes: number;
  /** The variables of the steps that a device was considered for. */
  readonly variables: readonly VariablePlacement[];
}

export function placementOf(placed: PlacedDevice | undefined): Placement {
  const accelerator = placed?.accelerator;
  return {
    device:
      accelerator === undefined ? null : { kind: accelerator.kind, description: accelerator.description },
    reasons: placed?.reasons ?? [],
    deviceBytes: accelerator?.memoryUse().held ?? 0,
    variables: placed?.placements ?? [],
  };
}

/** An option for tests and device packages: opens an accelerator in place of `@shardgrad/gpu`. */
const acceleratorOpener: unique symbol = Symbol.for("shardgrad.openAccelerator") as never;
/** What `auto` looks for. */
const automaticKinds = ["cuda", "webgpu"] as const;

/** Who is told what becomes of a device. */
interface Listeners {
  lost(device: string, reason: string): void;
  /** Whether somebody heard it. */
  changed(change: { readonly from: string; readonly to: string; readonly reason: string }): boolean;
}

/** What a runtime's `device` option asks for beside the CPU. */
export function placedDevice(
  options: RuntimeOptions,
  cpu: CpuDevice,
  memory: MemoryPool,
  listeners: Listeners,
): PlacedDevice | undefined {
  const { device = "auto", journalBytes, tf } = options;
  if (device === "cpu") return undefined;
  const named = device !== "auto";
  const asked: PlacedDeviceOptions = {
    kinds: named ? [device] : tf === undefined ? automaticKinds : [...automaticKinds, "tfjs"],
    named,
    // Software devices are for tests: slower than the CPU's own kernels. The back end of tfjs the application chose.
    software: named && (device === "tfjs" || process.env.SHARDGRAD_SOFTWARE_DEVICE === "1"),
    tf,
    journalBytes,
    open: (options as { [acceleratorOpener]?: PlacedDeviceOptions["open"] })[acceleratorOpener],
  };
  return new PlacedDevice(cpu, memory, asked, {
    lost: listeners.lost,
    changed: (from, to, reason) => {
      const isHeard = listeners.changed({ from, to, reason });
      if (named && to === "cpu" && !isHeard) {
        process.emitWarning(`The device "${from}" is not used: ${reason}`, { type: "ShardgradWarning" });
      }
    },
  });
}
