/** A tensor of tfjs, as far as it is used here. */
export interface TfTensor {
  readonly shape: readonly number[];
  readonly size: number;
  data(): Promise<ArrayLike<number>>;
  dispose(): void;
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
  tidy<T>(body: () => T): T;
  keep(tensor: TfTensor): TfTensor;
  tensor(values: Float32Array | Int32Array, shape: number[], dtype: "float32" | "int32"): TfTensor;
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

const functions: Readonly<Record<keyof Tf, true>> = {
  ready: true,
  getBackend: true,
  backend: true,
  tidy: true,
  keep: true,
  tensor: true,
  clone: true,
  sqrt: true,
  add: true,
  sub: true,
  mul: true,
  div: true,
  maximum: true,
  minimum: true,
  sum: true,
  concat: true,
  slice: true,
  reshape: true,
  gather: true,
  scatterND: true,
  tensorScatterUpdate: true,
};

/** The module as it is used here, or what is wrong with it. */
export function asTf(given: object | undefined): Tf | string {
  if (given === undefined) {
    return 'no `tf` was handed over: `import * as tf from …`, then `new Runtime({ device: "tfjs", tf })`';
  }
  const missing = missingOf(given);
  if (missing.length === 0) return given as Tf;
  // What `import * as tf` gives of a CommonJS module.
  const inner = (given as { default?: unknown }).default;
  if (typeof inner === "object" && inner !== null && missingOf(inner).length === 0) return inner as Tf;
  return `the \`tf\` that was handed over is not tfjs 4, or is incomplete: it has no ${missing.join(", ")}`;
}

function missingOf(given: object): string[] {
  return Object.keys(functions).filter(
    (name) => typeof (given as Record<string, unknown>)[name] !== "function",
  );
}
