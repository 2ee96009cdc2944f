/** A tensor of tfjs, as far as it is used here. */
export interface TfTensor {
  readonly dataId: object;
  readonly shape: readonly number[];
  readonly size: number;
  readonly isDisposed: boolean;
  data(): Promise<ArrayLike<number>>;
  dispose(): void;
}

/** A buffer of the WebGPU device that tfjs computes on, which a tensor is to lie in. */
export interface GpuData {
  readonly buffer: object;
  readonly zeroCopy: true;
}

/** By the `dataId` of tensors. */
interface TensorInfos {
  get(dataId: object): { readonly backend: unknown } | undefined;
}

type Unary = (x: TfTensor) => TfTensor;
type Binary = (a: TfTensor, b: TfTensor) => TfTensor;

/**
 * What is used of tfjs: a shape, not an import, so that the application's own copy of it serves, whatever package it
 * comes from. All ops of it exist on the cpu, wasm, webgl, webgpu and tensorflow back ends of tfjs 4.
 */
export interface Tf {
  ready(): Promise<unknown>;
  getBackend(): string;
  backend(): unknown;
  /** Where the values of tensors are. Without it, tensors of the application are not looked at. */
  engine?(): { readonly state: { readonly tensorInfo: TensorInfos } };
  tidy<T>(body: () => T): T;
  keep(tensor: TfTensor): TfTensor;
  tensor(values: Float32Array | Int32Array | GpuData, shape: number[], dtype: "float32" | "int32"): TfTensor;
  clone: Unary;
  sqrt: Unary;
  add: Binary;
  sub: Binary;
  mul: Binary;
  div: Binary;
  maximum: Binary;
  minimum: Binary;
  sum(x: TfTensor, axis: number): TfTensor;
  concat(tensors: TfTensor[], axis: number): TfTensor;
  slice(x: TfTensor, begin: number[], size: number[]): TfTensor;
  reshape(x: TfTensor, shape: number[]): TfTensor;
  gather(x: TfTensor, rows: TfTensor): TfTensor;
  /** Updates of the same index are added. */
  scatterND(indices: TfTensor, updates: TfTensor, shape: number[]): TfTensor;
  tensorScatterUpdate(x: TfTensor, indices: TfTensor, updates: TfTensor): TfTensor;
}

const functions: readonly Exclude<keyof Tf, "engine">[] = [
  "ready",
  "getBackend",
  "backend",
  "tidy",
  "keep",
  "tensor",
  "clone",
  "sqrt",
  "add",
  "sub",
  "mul",
  "div",
  "maximum",
  "minimum",
  "sum",
  "concat",
  "slice",
  "reshape",
  "gather",
  "scatterND",
  "tensorScatterUpdate",
];

/** What is used of the module that the application handed over, or what is wrong with it. */
export function asTf(given: object | undefined): Tf | string {
  if (given === undefined) {
    return 'no `tf` was handed over: `import * as tf from …`, then `new Runtime({ device: "tfjs", tf })`';
  }
  const missing = missingOf(given);
  if (missing.length === 0) return usedOf(given as Tf);
  // What `import * as tf` gives of a CommonJS module.
  const inner = (given as { default?: unknown }).default;
  if (typeof inner === "object" && inner !== null && missingOf(inner).length === 0)
    return usedOf(inner as Tf);
  return `the \`tf\` that was handed over is not tfjs 4, or is incomplete: it has no ${missing.join(", ")}`;
}

function usedOf(tf: Tf): Tf {
  const names = typeof tf.engine === "function" ? ([...functions, "engine"] as const) : functions;
  return Object.fromEntries(names.map((name) => [name, tf[name]!.bind(tf)])) as unknown as Tf;
}

function missingOf(given: object): string[] {
  return functions.filter((name) => typeof (given as Record<string, unknown>)[name] !== "function");
}
