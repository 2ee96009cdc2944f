import { type CudaBackend, GpuExecutor } from "@shardgrad/gpu";
import type { ClipPlan, SegmentGradient, SegmentPlan, StepPlan, UpdatePlan } from "@shardgrad/workers";
import { Random } from "../support/random.js";

/** Variables over host memory, as core's plans name them. */
export const shapes = [
  { rows: 1, rowSize: 5000, rowwise: false },
  { rows: 7, rowSize: 3, rowwise: false },
  { rows: 40, rowSize: 6, rowwise: true },
  { rows: 3, rowSize: 40, rowwise: true },
  { rows: 1, rowSize: 64, rowwise: false },
];
const LENGTH = 1 << 20;

class HostArrays {
  readonly memory = new SharedArrayBuffer(LENGTH);
  readonly places: { readonly variable: number; readonly accumulator: number; readonly average: number }[] =
    [];
  #end = 64;

  constructor() {
    const random = new Random(1);
    for (const { rows, rowSize, rowwise } of shapes) {
      const variable = this.#put(random.values(rows * rowSize));
      const accumulator = this.#put(Array(rowwise ? rows : rows * rowSize).fill(0.1));
      this.places.push({ variable, accumulator, average: this.#put(random.values(rows * rowSize)) });
    }
  }

  bytes(_memory: number, offset: number, length: number): Uint8Array {
    return new Uint8Array(this.memory, offset, length);
  }

  #put(values: ArrayLike<number>): number {
    const at = this.#end;
    new Float32Array(this.memory, at, values.length).set(values);
    this.#end += Math.ceil((4 * values.length) / 64) * 64;
    return at;
  }

  /** Gradients of a step, behind everything else. */
  gradients(): (values: Float64Array | Uint32Array) => number {
    let at = this.#end;
    return (values) => {
      const place = at;
      if (values instanceof Uint32Array) new Uint32Array(this.memory, at, values.length).set(values);
      else new Float32Array(this.memory, at, values.length).set(values);
      at += Math.ceil((4 * values.length) / 64) * 64;
      return place;
    };
  }
}

export const clips: readonly ClipPlan[] = [
  { kind: "none" },
  { kind: "norm", limit: 0.5 },
  { kind: "globalNorm", limit: 0.7 },
  { kind: "globalNorm", limit: 2 },
  { kind: "value", limit: 0.2 },
  { kind: "scale", factor: 0.3 },
];
export const averages: readonly StepPlan["average"][] = [
  null,
  { momentum: 0.9, overwrite: false },
  { momentum: 0.5, overwrite: true },
];

/** What a step is made of; few of each, so that kinds of steps come again. */
export interface Step {
  readonly gradients: readonly ("none" | "dense" | 3 | 9)[];
  readonly clip: number;
  readonly average: number;
  readonly rate: number;
  readonly otherEpsilon: boolean;
  /**
   * Before the step: the arrays of this variable and the next are dropped and find other places, or this one's were written
   * by the host.
   */
  readonly before: { readonly what: "nothing" | "drop" | "write"; readonly variable: number };
  readonly seed: number;
}

function planOf(host: HostArrays, { gradients, clip, average, rate, otherEpsilon, seed }: Step): StepPlan {
  const random = new Random(seed);
  const put = host.gradients();
  const updates = shapes.flatMap(({ rows, rowSize, rowwise }, i): UpdatePlan[] => {
    const kind = gradients[i]!;
    if (kind === "none") return [];
    const gradient: SegmentGradient =
      kind === "dense"
        ? { kind: "dense", offset: put(random.values(rows * rowSize)) }
        : {
            kind: "slices",
            indices: put(Uint32Array.from({ length: kind }, () => random.below(rows))),
            values: put(random.values(kind * rowSize)),
            count: kind,
          };
    const places = host.places[i]!;
    const segment: SegmentPlan = {
      ...{ memory: 0, start: 0, count: rows * rowSize, ...places, gradient, lazy: 0 },
      ...{ average: averages[average] === null ? 0 : places.average, versions: 0, versionMask: 0 },
    };
    return [
      {
        ...{ operation: "adagrad", dtype: "float32", rowSize, pin: i, segments: [segment], rowwise },
        ...{ learningRate: rate, epsilon: otherEpsilon && i === 1 ? 1e-3 : 1e-7, perRow: false },
      },
    ];
  });
  return { updates, clip: clips[clip]!, average: averages[average]!, elements: 1 };
}

/** Everything that a variable may have on a device. */
function allArrays(host: HostArrays): UpdatePlan[] {
  const all: Step = {
    gradients: ["dense", "dense", "dense", "dense", "dense"],
    ...{ clip: 0, average: 1, rate: 1, otherEpsilon: false, seed: 1 },
    before: { what: "nothing", variable: 0 },
  };
  return [...planOf(host, all).updates];
}

/** Where arrays lie on the host, and how long they are. */
function placesOf(host: HostArrays, i: number): { readonly offset: number; readonly bytes: number }[] {
  const { rows, rowSize, rowwise } = shapes[i]!;
  const { variable, accumulator, average } = host.places[i]!;
  const bytes = 4 * rows * rowSize;
  return [
    { offset: variable, bytes },
    { offset: accumulator, bytes: rowwise ? 4 * rows : bytes },
    { offset: average, bytes },
  ];
}

export class Model {
  readonly host = new HostArrays();
  readonly #backend: CudaBackend;
  #executor: GpuExecutor;
  /** Arrays that steps have changed on the device. */
  readonly #ahead = new Set<number>();

  constructor(backend: CudaBackend) {
    this.#backend = backend;
    this.#executor = new GpuExecutor(backend, this.host);
  }

  /** @returns the global norm, if the step clips by it */
  async run(step: Step): Promise<number | undefined> {
    await this.#before(step.before);
    await this.#executor.prepare(allArrays(this.host));
    const plan = planOf(this.host, step);
    this.#executor.launch(plan);
    for (const { segments } of plan.updates)
      for (const { variable, accumulator, average } of segments)
        for (const offset of [variable, accumulator, average]) this.#ahead.add(offset);
    return (await this.#executor.settled()).globalNorm;
  }

  async #before({ what, variable }: Step["before"]): Promise<void> {
    const both = [(variable + 1) % shapes.length, variable];
    if (what === "write") {
      await this.bringHome([variable]);
      new Float32Array(this.host.memory, this.host.places[variable]!.variable, 1)[0] = 5;
      for (const { offset } of placesOf(this.host, variable)) this.#executor.changed(0, offset);
    } else if (what === "drop") {
      await this.bringHome(both);
      this.drop(both);
      for (const i of both) await this.#executor.prepare([allArrays(this.host)[i]!]);
    }
  }

  /** Makes the host's values of variables current. */
  async bringHome(variables: readonly number[] = [...shapes.keys()]): Promise<void> {
    for (const i of variables) {
      for (const { offset, bytes } of placesOf(this.host, i)) {
        if (!this.#ahead.delete(offset)) continue;
        const target = new Uint8Array(bytes);
        await this.#executor.download(0, offset, target);
        this.host.bytes(0, offset, bytes).set(target);
      }
    }
  }

  drop(variables: readonly number[] = [...shapes.keys()]): void {
    for (const i of variables)
      for (const { offset } of placesOf(this.host, i)) this.#executor.drop(0, offset);
  }

  /** Goes on with the same values and without any layout. */
  async renew(): Promise<void> {
    await this.bringHome();
    this.drop();
    this.#executor = new GpuExecutor(this.#backend, this.host);
  }

  values(): number[][] {
    return shapes.flatMap((_, i) =>
      placesOf(this.host, i).map(({ offset, bytes }) => [
        ...new Int32Array(this.host.memory, offset, bytes / 4),
      ]),
    );
  }
}
