/** Arrays on the device, launches by the names of the kernel table, and times by the device's own clock. */
import { ALIGNMENT, gpuKernels, TILE } from "@shardgrad/gpu";
import { EMA_MOMENTUM, EPSILON, LEARNING_RATE } from "../lib/hyper.mjs";
import { summarize } from "../lib/statistics.mjs";

/** @typedef {import("@shardgrad/gpu").Binding} Binding */
/** @typedef {import("@shardgrad/gpu").Command} Command */

/** The scalars that many kernels take. */
export const scalars = {
  learningRate: LEARNING_RATE,
  epsilon: EPSILON,
  clipKind: 0,
  momentum: EMA_MOMENTUM,
  complement: 1 - EMA_MOMENTUM,
  emaKind: 0,
  rangeCount: 1,
  perRow: 0,
  firstPart: 0,
  partCount: 1,
  firstPartial: 0,
};

export const tilesOf = (/** @type {number} */ elements) => Math.ceil(elements / TILE);

export class Device {
  /** @param {import("@shardgrad/gpu").CudaBackend} backend */
  constructor(backend) {
    this.backend = backend;
    /** @type {Binding[]} */
    this.made = [];
  }

  /** @param {number} bytes */
  room(bytes) {
    const padded = Math.max(Math.ceil(bytes / ALIGNMENT), 1) * ALIGNMENT;
    const binding = { buffer: this.backend.allocate(padded), offset: 0, bytes: padded };
    this.made.push(binding);
    return binding;
  }

  /**
   * @param {number} elements
   * @param {number} value
   */
  filled(elements, value) {
    const target = this.room(4 * elements);
    this.launch(this.command("fill", { target }, { value, offset: 0, elements }, tilesOf(elements)));
    return target;
  }

  /** @param {Uint32Array | Float32Array} values */
  uploaded(values) {
    const target = this.room(values.byteLength);
    this.backend.upload(target.buffer, 0, values);
    return target;
  }

  /**
   * @param {Command["kernel"]} kernel
   * @param {Readonly<Record<string, Binding>>} buffers
   * @param {Readonly<Record<string, number>>} own
   * @param {number} count
   * @returns {Command}
   */
  command(kernel, buffers, own, count) {
    const table = gpuKernels[kernel];
    const all = { ...scalars, ...own };
    return {
      kernel,
      dtype: "float32",
      buffers: table.buffers.map(({ name }) => buffers[name]),
      scalars: table.scalars.map(({ name }) => all[/** @type {keyof typeof all} */ (name)]),
      count,
    };
  }

  /** @param {...Command} commands */
  launch(...commands) {
    this.backend.launch(commands);
  }

  /**
   * Nanoseconds of one step by the device's clock: samples of as many steps as take about 2 ms.
   * @param {number} samples
   * @param {() => void} step
   */
  async time(samples, step) {
    step();
    await this.backend.finished();
    const one = await this.backend.timed(step);
    const steps = Math.max(1, Math.min(200, Math.ceil(2 / Math.max(one, 0.005))));
    const taken = [];
    for (let i = 0; i < samples; i++) {
      const milliseconds = await this.backend.timed(() => {
        for (let k = 0; k < steps; k++) step();
      });
      taken.push((milliseconds * 1e6) / steps);
    }
    return summarize(taken);
  }

  /**
   * @param {Binding} binding
   * @param {number} count
   */
  async read(binding, count) {
    const target = new Float32Array(count);
    await this.backend.download(binding.buffer, binding.offset, target);
    return target;
  }

  /** Gives back everything that was made since the last time. */
  async clear() {
    for (const { buffer } of this.made) this.backend.free(buffer);
    this.made = [];
    await this.backend.finished();
  }

  /** @param {number} bytes */
  hasRoom(bytes) {
    return (this.backend.memory().free ?? Number.POSITIVE_INFINITY) > bytes * 1.05;
  }
}
