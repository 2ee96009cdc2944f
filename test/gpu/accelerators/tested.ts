import { Runtime, type RuntimeOptions } from "@shardgrad/core";
import { expect } from "vitest";
import type { TestedAccelerator } from "./contract.js";

/** The accelerator that this run of the tests is about. */
export const accelerator: TestedAccelerator = await load(process.env.SHARDGRAD_TEST_DEVICE ?? "webgpu");

async function load(kind: string): Promise<TestedAccelerator> {
  if (kind === "cuda") return (await import("./cuda.js")).cuda;
  if (kind === "tfjs") return (await import("./tfjs.js")).tfjs;
  return (await import("./webgpu.js")).webGpu;
}

/** A runtime on the accelerator as an application opens it. */
export function runtimeOn(options: RuntimeOptions = {}): Runtime {
  // Listening, or a loss would be a warning of the process.
  return new Runtime({ threads: 0, ...accelerator.options, ...options }).on("deviceChanged", () => {});
}

/** What a runtime says of its devices, in order. */
export function heard(runtime: Runtime): string[] {
  const events: string[] = [];
  runtime.on("deviceLost", ({ device, reason }) => events.push(`lost ${device}: ${reason}`));
  runtime.on("deviceChanged", ({ from, to, reason }) => events.push(`${from} to ${to}: ${reason}`));
  return events;
}

/** What is heard of a device that is opened, lost, and left for the CPU. */
export function opened(): unknown[] {
  return [told(`^cpu to ${accelerator.kind}: ${accelerator.description.source}`)];
}

/** @param reason - the source of a regular expression */
export function lost(reason: string): unknown[] {
  const { kind, description } = accelerator;
  return [
    ...opened(),
    told(`^lost ${description.source}.*: .*${reason}`),
    told(`^${kind} to cpu: .*${reason}`),
  ];
}

function told(pattern: string): unknown {
  return expect.stringMatching(new RegExp(pattern));
}
