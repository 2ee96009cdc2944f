import { createRequire } from "node:module";
import { FailingCalls } from "./failing-calls.js";

type Method = (this: object, ...values: unknown[]) => unknown;
type Classes = Record<string, { prototype: Record<string, Method> }>;

/** The methods of WebGPU that the back end calls. */
const methods: Readonly<Record<string, readonly string[]>> = {
  GPUDevice: ["createBuffer", "createBindGroup", "createCommandEncoder", "pushErrorScope", "popErrorScope"],
  GPUQueue: ["writeBuffer", "submit", "onSubmittedWorkDone"],
  GPUCommandEncoder: ["beginComputePass", "copyBufferToBuffer", "finish"],
  GPUComputePassEncoder: ["setPipeline", "setBindGroup", "dispatchWorkgroups", "end"],
  GPUBuffer: ["mapAsync", "getMappedRange", "unmap", "destroy"],
};
const asynchronous = ["mapAsync", "onSubmittedWorkDone", "popErrorScope"];

/** Lets calls of the package `webgpu` fail, in this process, and counts the buffers that are not destroyed. */
export class FailingWebGpu extends FailingCalls {
  /** A submission that the device refuses: WebGPU says so in an event, after the call. */
  static readonly refused = "refused submit";
  /** A buffer for which there is no room: WebGPU says so after the call, in an error scope. */
  static readonly noRoom = "no room";

  readonly #buffers = new Set<unknown>();

  constructor() {
    super();
    const { globals } = createRequire(import.meta.url)("webgpu") as { globals: Classes };
    for (const [name, names] of Object.entries(methods)) {
      for (const method of names) this.#wrap(globals[name]!.prototype, method);
    }
  }

  get left(): number {
    return this.#buffers.size;
  }

  #wrap(prototype: Record<string, Method>, name: string): void {
    const original = prototype[name]!;
    const isDue = (call: string) => this.isDue(call);
    const failIfDue = () => this.failIfDue(name, asynchronous.includes(name));
    const buffers = this.#buffers;
    prototype[name] = function (this: object, ...values: unknown[]) {
      const failed = failIfDue();
      if (failed !== undefined) return failed;
      const result = original.apply(this, values);
      if (name === "createBuffer") buffers.add(result);
      if (name === "destroy") buffers.delete(this);
      // What was submitted once cannot be submitted again.
      if (name === "submit" && isDue(FailingWebGpu.refused)) original.apply(this, values);
      if (name === "popErrorScope" && isDue(FailingWebGpu.noRoom)) {
        return (result as Promise<unknown>).then(() => ({ message: "as the test told" }));
      }
      return result;
    };
  }
}
