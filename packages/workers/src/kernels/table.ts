import type { DType } from "../dtype.js";
import { dtypeInfo } from "../dtype.js";

/**
 * The one table of kernels. A name here is the name of the AssemblyScript export, and its position is the
 * number by which an encoded program calls it. `clipArgument` is where a kernel takes the two clip scalars.
 */
const operations = [
  { name: "adagradDense", clipArgument: 8, writes: true },
  { name: "adagradRows", clipArgument: 13, writes: true },
  { name: "sumSquares", clipArgument: -1, writes: false },
  { name: "clip", clipArgument: 3, writes: false },
  { name: "ema", clipArgument: -1, writes: true },
  { name: "rowwiseDense", clipArgument: 9, writes: true },
  { name: "rowwiseRows", clipArgument: 13, writes: true },
  { name: "catchUp", clipArgument: -1, writes: true },
  { name: "dealRows", clipArgument: -1, writes: false },
] as const;

export type KernelOperation = (typeof operations)[number]["name"];

const dtypes: readonly DType[] = ["float32", "float64", "float16"];

export interface Kernel {
  readonly id: number;
  readonly exportName: string;
  readonly clipArgument: number;
  /** Whether it changes a variable, its accumulator or its average. */
  readonly writes: boolean;
}

export const kernels: readonly Kernel[] = operations.flatMap(({ name, clipArgument, writes }, row) =>
  dtypes.map((dtype, column) => ({
    id: row * dtypes.length + column,
    exportName: `${name}${dtypeInfo[dtype].suffix}`,
    clipArgument,
    writes,
  })),
);

const byOperation = new Map(operations.map(({ name }, row) => [name, row * dtypes.length] as const));

export function kernelFor(operation: KernelOperation, dtype: DType): Kernel {
  return kernels[byOperation.get(operation)! + dtypeInfo[dtype].code]!;
}

/** How a kernel clips each gradient element, by two scalars a and b. */
export const clipKinds = {
  none: 0,
  /** g * a */
  scale: 1,
  /** (g * a) / b */
  norm: 2,
  /** g limited to [-a, a] */
  value: 3,
} as const;

/** What a kernel does with the average. */
export const averageKinds = { none: 0, update: 1, overwrite: 2 } as const;

/** Elements summed into one partial sum of squares. Fixed, so that sums do not depend on the shards. */
export const NORM_BLOCK = 4096;
