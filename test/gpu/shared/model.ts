import { Adagrad, type AdagradOptions, type GradientPair, Runtime, Variable } from "@shardgrad/core";
import { expect } from "vitest";
import { Random } from "../../support/random.js";
import { expectSameState, stateOf } from "../../support/state.js";

const cpu = new Runtime({ device: "cpu", threads: 0 });

/** A table, a variable longer than a tile, a scalar, another table with dense gradients. */
const shapes: readonly (readonly number[])[] = [[60, 5], [4097], [], [24, 33]];

const standard: AdagradOptions = {
  learningRate: 0.1,
  useEma: true,
  emaOverwriteFrequency: 3,
  globalClipnorm: 1.5,
};

interface Side {
  readonly variables: readonly Variable[];
  readonly optimizer: Adagrad;
  readonly norms: (number | undefined)[];
  readonly devices: string[];
}

export interface ModelOptions {
  readonly optimizer?: AdagradOptions;
  readonly shapes?: readonly (readonly number[])[];
  /** Of each variable; "auto" if not given. */
  readonly places?: readonly ("auto" | "cpu" | "gpu")[];
}

/** A model on a runtime and the same on one without a device: every step is done by both, with the same gradients. */
export class Model {
  readonly runtime: Runtime;
  readonly #here: Side;
  readonly #reference: Side;
  readonly #random = new Random(11);

  constructor(runtime: Runtime, options: ModelOptions = {}) {
    this.runtime = runtime;
    this.#here = sideOn(runtime, options);
    this.#reference = sideOn(cpu, options);
  }

  get variables(): readonly Variable[] {
    return this.#here.variables;
  }

  get optimizer(): Adagrad {
    return this.#here.optimizer;
  }

  /** Where the steps ran. */
  get devices(): readonly string[] {
    return this.#here.devices;
  }

  /** The variables as they are to be. */
  get expected(): readonly Variable[] {
    return this.#reference.variables;
  }

  async step(mode: "async" | "sync" = "async"): Promise<void> {
    const gradients = this.#gradients();
    this.#reference.optimizer.applyGradientsSync(gradients(this.#reference));
    if (mode === "sync") this.#here.optimizer.applyGradientsSync(gradients(this.#here));
    else await this.#here.optimizer.applyGradients(gradients(this.#here));
  }

  async steps(count: number, mode: "async" | "sync" = "async"): Promise<void> {
    for (let i = 0; i < count; i++) await this.step(mode);
  }

  /** Every bit and every norm is as without a device. The values have to be home. */
  expectSame(what = ""): void {
    const [here, reference] = [this.#here, this.#reference].map(({ optimizer, variables }) =>
      stateOf(optimizer, variables),
    );
    expectSameState(here!, reference!, what);
    expect(this.#here.norms, what).toEqual(this.#reference.norms);
  }

  /** The gradients of one step, for either side. */
  #gradients(): (side: Side) => GradientPair[] {
    const made = this.#here.variables.map(({ shape, size }, i) => {
      if (i !== 0) return Float32Array.from(this.#random.values(size));
      const indices = this.#random.indices(30, shape[0]!, false);
      return { indices, values: Float32Array.from(this.#random.values((30 * size) / shape[0]!)) };
    });
    return ({ variables }) => variables.map((variable, i) => [made[i]!, variable]);
  }
}

function sideOn(runtime: Runtime, { optimizer: given = {}, places = [], ...options }: ModelOptions): Side {
  const random = new Random(7);
  const variables = (options.shapes ?? shapes).map((shape, i) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const values = Float32Array.from(random.values(size));
    return new Variable(values, { shape: [...shape], name: `v${i}`, device: places[i] ?? "auto", runtime });
  });
  const optimizer = new Adagrad({ ...standard, ...given, runtime });
  const norms: Side["norms"] = [];
  const devices: string[] = [];
  optimizer.on("iteration", ({ globalNorm, device }) => {
    norms.push(globalNorm);
    devices.push(device);
  });
  return { variables, optimizer, norms, devices };
}
