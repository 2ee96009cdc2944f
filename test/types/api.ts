/**
 * Compile-time tests of the public types: this file is never run, `tsc --noEmit` reads it (types.test.ts).
 * What must not compile stands under a @ts-expect-error; it fails when it does compile.
 */
import {
  Adagrad,
  type AdagradOptions,
  ArgumentError,
  type channels,
  type Damage,
  type DType,
  ExponentialDecay,
  type Gradient,
  type GradientPair,
  type GradientTape,
  IndexedSlices,
  InProcessAggregator,
  LearningRateSchedule,
  type NestedArray,
  Optimizer,
  Runtime,
  ShardgradError,
  type StepGradient,
  type TypedArray,
  UpdateStepError,
  Variable,
  WorkerLostError,
} from "@shardgrad/core";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

// Variable
const w = new Variable([[1, 2]], { name: "w", dtype: "float16", shape: [1, 2] });
same<typeof w.data, TypedArray>(true);
same<typeof w.dtype, DType>(true);
same<ReturnType<typeof w.toArray>, NestedArray>(true);
new Variable(1);
new Variable(new Float64Array(3));
new Variable("zeros", { shape: [2] });
new Variable((shape, dtype) => (dtype === "float32" ? new Float32Array(shape[0]!) : [1]), { shape: [2] });
Variable.uniform([2], { min: -1, max: 1, seed: 3, name: "u" });
Variable.normal([2, 3] as const, { mean: 0, stddev: 1 });
const resized: Promise<void> = Variable.zeros([1, 2], { reserveRows: 5 }).resizeRows(3, {
  initializer: "ones",
});
void resized;
w.resizeRowsSync(2, { initializer: ([rows = 0]) => new Float32Array(2 * rows) });
// @ts-expect-error
w.resizeRows("3");
// @ts-expect-error
w.resizeRows(3, { initializer: [1, 2] });
// @ts-expect-error
w.shape = [3];
// @ts-expect-error no such dtype
new Variable(1, { dtype: "int32" });
// @ts-expect-error strings are no numbers
new Variable(["1"]);
// @ts-expect-error no such initializer
new Variable("twos", { shape: [2] });
// @ts-expect-error no such option
new Variable(1, { nam: "w" });
// @ts-expect-error an integer array holds no dtype
new Variable(new Int32Array(2));
// @ts-expect-error read-only
w.name = "v";
// @ts-expect-error the shape is read-only
w.shape[0] = 3;
// @ts-expect-error a variable is no initializer
w.assign("zeros");

// Adagrad and its options
const runtime = new Runtime({
  threads: 2,
  device: "cpu",
  inlineThreshold: 0,
  kernels: "auto",
  maxQueue: 4,
  arenaBytes: 1 << 20,
});
const decay = new ExponentialDecay({
  initialLearningRate: 0.1,
  decaySteps: 10,
  decayRate: 0.9,
  staircase: true,
});
const options: AdagradOptions = {
  learningRate: decay,
  initialAccumulatorValue: 0.1,
  epsilon: 1e-7,
  clipnorm: null,
  clipvalue: 1,
  globalClipnorm: undefined,
  useEma: true,
  emaMomentum: 0.9,
  emaOverwriteFrequency: 5,
  jitCompile: false,
  name: "a",
  duplicateIndices: "perRow",
  accumulator: "rowwise",
  runtime,
  aggregator: new InProcessAggregator({ replicas: 2 }),
};
const optimizer = new Adagrad(options);
// @ts-expect-error camelCase here
new Adagrad({ learning_rate: 0.1 });
// @ts-expect-error no such option
new Adagrad({ weightDecay: 0.1 });
// @ts-expect-error no such mode
new Adagrad({ duplicateIndices: "both" });
// @ts-expect-error neither of the two
new Adagrad({ accumulator: "columnwise" });
// @ts-expect-error a string is no rate
new Adagrad({ learningRate: "0.1" });
// @ts-expect-error the steps are a number
new ExponentialDecay({ initialLearningRate: 0.1, decaySteps: "10", decayRate: 0.9 });
// @ts-expect-error abstract
new Optimizer({});

same<typeof optimizer.iterations, number>(true);
same<typeof optimizer.learningRate, number>(true);
same<typeof optimizer.accumulators, readonly Variable[]>(true);
same<typeof optimizer.averages, readonly Variable[]>(true);
optimizer.learningRate = 0.5;
optimizer.lr = 0.5;
optimizer.iterations = 3;
// @ts-expect-error read-only
optimizer.accumulators = [];
// @ts-expect-error read-only
optimizer.name = "b";

// Steps
const slices = new IndexedSlices({ indices: new Int32Array(1), values: [[1, 2]], denseShape: [1, 2] });
const pairs: GradientPair[] = [
  [new Float32Array(2), w],
  [[[1, 2]], w],
  [slices, w],
  [{ indices: [0], values: new Float32Array(2) }, w],
  [{ indices: BigInt64Array.of(0n), values: [[1, 2]] }, w],
  [null, w],
];
same<ReturnType<typeof optimizer.applyGradients>, Promise<void>>(true);
optimizer.applyGradients(pairs, { skipGradientsAggregation: true, signal: new AbortController().signal });
optimizer.applyGradients(new Map<Gradient, Variable>().entries());
optimizer.applyGradients(
  (function* () {
    yield [null, w] as const;
  })(),
);
same<ReturnType<typeof optimizer.applyGradientsSync>, void>(true);
optimizer.applyGradientsSync([[1, w]]);
// @ts-expect-error the variable comes second
optimizer.applyGradients([[w, new Float32Array(2)]]);
// @ts-expect-error a pair is needed
optimizer.applyGradients([new Float32Array(2)]);
// @ts-expect-error no such option
optimizer.applyGradients(pairs, { skip: true });
// @ts-expect-error indices are numbers
new IndexedSlices({ indices: ["0"], values: [[1]] });

// Losses
const tape: GradientTape<number> = { watch() {}, gradient: (_, variables) => variables.map(() => null) };
same<Promise<number>, ReturnType<typeof minimized>>(true);
function minimized() {
  return optimizer.minimize(() => 3, [w], tape);
}
const own: Promise<number> = optimizer.minimize(() => ({ loss: 3, gradients: [null] }), [w]);
const computed: GradientPair[] = optimizer.computeGradients(() => ({ loss: 3, gradients: [[1]] }), [w]);
void own;
void computed;
// @ts-expect-error a tape needs both methods
optimizer.minimize(() => 3, [w], { watch() {} });

// Config
const config = optimizer.getConfig();
const again: Adagrad = Adagrad.fromConfig(config, { runtime });
void again;

// Tensors, of whatever type the application's tfjs has
same<Awaited<ReturnType<typeof w.tensor>>, object>(true);
const tensor: { dataSync(): Float32Array } = await w.tensor<{ dataSync(): Float32Array }>();
void tensor;

// Events
optimizer.on("iteration", (event) => {
  same<typeof event.iterations, number>(true);
  same<typeof event.device, "inline" | "workers" | "cuda" | "webgpu" | "tfjs" | "hybrid">(true);
  same<typeof event.globalNorm, number | undefined>(true);
  const { learningRate, durationMs, variables, elements } = event;
  same<typeof variables, readonly Variable[]>(true);
  void [learningRate, durationMs, elements];
});
optimizer.once("emaOverwrite", ({ iterations, variables }) => void [iterations, variables]);
optimizer.off("finalize", () => {});
optimizer.on("error", (error) => {
  same<typeof error, unknown>(true);
});
optimizer.on("build", async () => {});
runtime.on("drain", () => {});
runtime.on("workerLost", ({ lane }) => lane.toFixed());
runtime.on("deviceLost", ({ device, reason }) => `${device}: ${reason}`.length);
runtime.on("deviceChanged", ({ from, to, reason }) => `${from} ${to} ${reason}`.length);
// @ts-expect-error no such event
optimizer.on("step", () => {});
// @ts-expect-error an event of the runtime
optimizer.on("drain", () => {});
same<typeof channels.iteration, "shardgrad:iteration">(true);

// Runtime
same<ReturnType<typeof runtime.ready>, Promise<void>>(true);
same<ReturnType<typeof Runtime.default>, Runtime>(true);
runtime.release(runtime.allocate([2, 3], "float64"));
runtime.close({ timeout: 10, signal: new AbortController().signal });
const disposable: AsyncDisposable = runtime;
void disposable;
same<typeof runtime.memoryBytes, number>(true);
new Runtime({ threads: undefined, device: undefined, maxQueue: undefined, arenaBytes: undefined });
runtime.close({ timeout: undefined, signal: undefined });
// @ts-expect-error no such device
new Runtime({ device: "tpu" });

// Errors
function handle(error: unknown): void {
  if (error instanceof WorkerLostError || error instanceof UpdateStepError) {
    same<typeof error.damage, readonly Damage[]>(true);
  } else if (error instanceof ArgumentError) {
    const { argument, received, expected } = error;
    same<typeof argument, string>(true);
    same<typeof received, unknown>(true);
    same<typeof expected, string>(true);
  } else if (error instanceof ShardgradError) {
    same<typeof error.code, string>(true);
  }
}
handle(new Error());

// Subclasses
class Custom extends Optimizer {
  override updateStep(gradient: StepGradient, variable: Variable): void {
    if (ArrayBuffer.isView(gradient)) same<typeof gradient, TypedArray>(true);
    else same<typeof gradient.indices, Uint32Array<ArrayBufferLike>>(true);
    variable.data[0] = this.learningRate;
  }
}
new Custom({ learningRate: 0.1, useEma: true });

// @ts-expect-error updateStep is missing
class Incomplete extends Optimizer {}
void Incomplete;

class Constant extends LearningRateSchedule {
  override call(step: number): number {
    return step;
  }
  override getConfig() {
    return { rate: 1 };
  }
}
new Adagrad({ learningRate: new Constant() });
