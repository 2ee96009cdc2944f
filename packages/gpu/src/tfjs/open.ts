import type { Accelerator, HostMemory } from "@shardgrad/workers";
import type { GpuExecutor } from "../execute/executor.js";
import { TfjsAccelerator } from "./accelerator.js";
import { resourceVariables } from "./resource-variables.js";
import { selfTest, withoutSideEffects } from "./self-test.js";
import { openOnDeviceOf } from "./shared-device.js";
import { asTf, type Tf } from "./tf.js";
import { type MakeArray, tensorArrays } from "./tf-array.js";

/** The options of {@link openTfjs}. */
export interface OpenTfjsOptions {
  /** The tfjs of the application, with a back end set. */
  readonly tf: object | undefined;
  readonly host: HostMemory;
  /** Takes back ends that compute on the processor too. */
  readonly software: boolean;
}

/** Steps with the tfjs that the application uses, or why that cannot be, in one line. */
export async function openTfjs({
  tf: given,
  host,
  software,
}: OpenTfjsOptions): Promise<Accelerator | string> {
  const used = asTf(given);
  if (typeof used === "string") return `tfjs: ${used}`;
  try {
    await used.ready();
    const name = used.getBackend();
    const shared = openOnDeviceOf(used, nameOf(given), host);
    const isSoftware = isExecutor(shared) ? shared.isSoftware : computesOnProcessor(name, used.backend());
    if (isSoftware && !software) {
      if (isExecutor(shared)) await shared.close();
      return `tfjs: its back end "${name}" computes on the processor, as this package does, only slower`;
    }
    if (isExecutor(shared)) return shared;
    const tf = await withoutSideEffects(used);
    const inPlace = await working(tf, resourceVariables(tf));
    const makeArray = inPlace ?? tensorArrays(tf);
    const wrong = inPlace === undefined ? await selfTest(tf, makeArray) : undefined;
    if (wrong !== undefined) return `tfjs: its back end "${name}" ${wrong}`;
    return new TfjsAccelerator(tf, host, {
      description:
        `${nameOf(given)} with its back end "${name}"` +
        (shared === undefined ? "" : ` (its device is not shared: ${shared})`),
      isSoftware,
      lost: lossOf(tf.backend()),
      addsInOrder: isSoftware || name === "webgl",
      makeArray,
    });
  } catch (error) {
    return `tfjs: it does not work: ${explained(error)}`;
  }
}

function isExecutor(opened: GpuExecutor | string | undefined): opened is GpuExecutor {
  return typeof opened === "object";
}

/** A way to keep arrays that a back end may have, if steps with it are right. */
async function working(tf: Tf, makeArray: MakeArray | undefined): Promise<MakeArray | undefined> {
  if (makeArray === undefined) return undefined;
  // Another version of TensorFlow, or a GPU without one of the kernels: plain ops do it, or say what is wrong.
  const wrong = await selfTest(tf, makeArray).catch(() => "throws");
  return wrong === undefined ? makeArray : undefined;
}

function computesOnProcessor(name: string, backend: unknown): boolean {
  if (name === "tensorflow") return (backend as { isUsingGpuDevice?: unknown }).isUsingGpuDevice !== true;
  return name === "cpu" || name === "wasm";
}

function nameOf(given: object | undefined): string {
  const { version_core: core } = given as { version_core?: unknown };
  return typeof core === "string" ? `tfjs ${core}` : "tfjs";
}

/** The WebGPU back end has a device whose loss can be heard of; of the others' an op tells, by throwing. */
function lossOf(backend: unknown): Accelerator["lost"] {
  const { device } = backend as { device?: { lost?: Promise<{ message?: string }> } };
  if (typeof device?.lost?.then !== "function") return new Promise(() => {});
  return device.lost.then((info) => ({ reason: info.message || "the device of tfjs was lost" }));
}

function explained(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (/isNullOrUndefined|util_\d+\.isArray/.test(message)) {
    return (
      `${firstLine(message)} (Node 23 removed what tfjs-node 4.22 uses: before importing it, ` +
      "`util.isNullOrUndefined ??= (v) => v == null; util.isArray ??= Array.isArray`)"
    );
  }
  return firstLine(message);
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0]!;
}
