/**
 * Fits a line to noisy points with the SGD of sgd.ts, and with everything the base class adds to it: clipping by
 * norm, a moving average of the weights, a learning rate that decays, events.
 */
import { CosineDecay, Variable } from "@shardgrad/core";
import { SGD } from "./sgd.js";

const steps = 240;
const batchSize = 32;
const trueSlopes = [2, -3, 0.5];
const trueOffset = 4;

/** Park and Miller's generator: enough for an example, and the same points in every run. */
let state = 42;
function uniform(): number {
  state = (state * 48271) % 2147483647;
  return (2 * state) / 2147483647 - 1;
}

const inputs = Array.from({ length: 256 }, () => trueSlopes.map(uniform));
const targets = inputs.map(
  (input) => trueOffset + input.reduce((sum, value, i) => sum + value * trueSlopes[i]!, 0) + 0.1 * uniform(),
);

const slopes = Variable.zeros([3], { name: "slopes" });
const offset = Variable.zeros([1], { name: "offset" });

/** Mean squared error of the points from `first` up to `end`, and its gradients. */
function loss(first = 0, end = inputs.length) {
  const slopeGradient = new Float32Array(3);
  const offsetGradient = new Float32Array(1);
  let total = 0;
  for (let i = first; i < end; i++) {
    const input = inputs[i]!;
    const predicted = input.reduce((sum, value, k) => sum + value * slopes.data[k]!, offset.data[0]!);
    const error = predicted - targets[i]!;
    total += error ** 2 / (end - first);
    input.forEach((value, k) => {
      slopeGradient[k]! += (2 * error * value) / (end - first);
    });
    offsetGradient[0]! += (2 * error) / (end - first);
  }
  return { loss: total, gradients: [slopeGradient, offsetGradient] };
}

const optimizer = new SGD({
  learningRate: new CosineDecay({ initialLearningRate: 0.1, decaySteps: steps }),
  momentum: 0.9,
  nesterov: true,
  globalClipnorm: 1,
  useEma: true,
  emaMomentum: 0.9,
});

optimizer.on("iteration", ({ iterations, learningRate, globalNorm }) => {
  if (iterations % 30 !== 0) return;
  const norm = globalNorm === undefined ? "" : `  gradient norm ${globalNorm.toFixed(4)}`;
  console.log(
    `step ${String(iterations).padStart(3)}  loss ${loss().loss.toFixed(5)}  rate ${learningRate.toFixed(4)}${norm}`,
  );
});

for (let step = 0; step < steps; step++) {
  const first = (step * batchSize) % inputs.length;
  await optimizer.minimize(() => loss(first, first + batchSize), [slopes, offset]);
}

// The averages become the weights, smoother than what the last batches made of them.
optimizer.finalizeVariableValues([slopes, offset]);
const round = (values: ArrayLike<number>): string =>
  Array.from(values, (value) => value.toFixed(3)).join(", ");
console.log(`\nslopes ${round(slopes.data)} (true: ${round(trueSlopes)})`);
console.log(`offset ${round(offset.data)} (true: ${round([trueOffset])})`);
console.log(`loss   ${loss().loss.toFixed(5)}`);
