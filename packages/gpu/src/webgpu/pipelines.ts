/// <reference types="@webgpu/types" />
import { type GpuKernelName, gpuKernels } from "../kernels/table.js";
import { declarations, type Shader } from "./shaders/common.js";
import { adagradDense, ema } from "./shaders/dense.js";
import { countDigits, countRows, groupSlices, sortPass, writeGroups } from "./shaders/groups.js";
import { copy, fill, gather } from "./shaders/moves.js";
import { clipScalars, sumSquares } from "./shaders/norms.js";
import { adagradRows, catchUp } from "./shaders/rows.js";
import { rowwiseDense, rowwiseRows } from "./shaders/rowwise.js";

const shaders: Readonly<Record<GpuKernelName, Shader>> = {
  sumSquares,
  clipScalars,
  adagradDense,
  rowwiseDense,
  adagradRows,
  rowwiseRows,
  countDigits,
  sortPass,
  countRows,
  writeGroups,
  groupSlices,
  ema,
  catchUp,
  gather,
  fill,
  copy,
};

const MOST_GROUPS = 65_535;

/** A compiled kernel. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** Workgroups for a number of units. */
  groups(count: number, scalars: readonly number[]): number;
}

/** Bytes of the uniform buffer that one command's scalars take: the least distance of two of them. */
export const SCALARS_BYTES = 256;

/** Compiles each kernel once, on its first use. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #compiled = new Map<GpuKernelName, Pipeline>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  get(name: GpuKernelName): Pipeline {
    const known = this.#compiled.get(name);
    if (known !== undefined) return known;
    const made = this.#compile(name, shaders[name]);
    this.#compiled.set(name, made);
    return made;
  }

  #compile(name: GpuKernelName, { byFours = false, code, unitsPerGroup }: Shader): Pipeline {
    const { buffers } = gpuKernels[name];
    const entries: GPUBindGroupLayoutEntry[] = buffers.map(({ access }, binding) => ({
      binding,
      visibility: GPU_SHADER_STAGE_COMPUTE,
      buffer: { type: access === "read" ? "read-only-storage" : "storage" },
    }));
    entries.push({
      binding: buffers.length,
      visibility: GPU_SHADER_STAGE_COMPUTE,
      buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 64 },
    });
    const layout = this.#device.createBindGroupLayout({ label: name, entries });
    const pipeline = this.#device.createComputePipeline({
      label: name,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: {
        module: this.#device.createShaderModule({ label: name, code: declarations(name, byFours) + code }),
        entryPoint: "main",
      },
    });
    const groups = (count: number, scalars: readonly number[]) =>
      Math.min(MOST_GROUPS, Math.ceil(count / (unitsPerGroup?.(scalars) ?? 1)));
    return { pipeline, layout, groups };
  }
}

/** GPUShaderStage.COMPUTE, without the global that Node lacks. */
const GPU_SHADER_STAGE_COMPUTE = 4;
