/**
 * Compile-time tests of gradients that are tensors of tfjs, whose types core does not know. As api.ts, but compiled with the
 * other tests, as tfjs' own declarations need the browser's.
 */
import { Adagrad, type Gradient, IndexedSlices, type TensorLike, Variable } from "@shardgrad/core";
import type { Rank, Tensor, Tensor1D, Tensor2D, Variable as TfVariable } from "@tensorflow/tfjs-core";

declare const tensor: Tensor2D;
declare const rowNumbers: Tensor1D;
declare const variable: TfVariable<Rank.R2>;
declare const grads: Tensor[];

const w = Variable.ones([1, 2]);
const optimizer = new Adagrad();
const like: TensorLike = tensor;
const gradient: Gradient = tensor;
optimizer.applyGradients([
  [tensor, w],
  [variable, w],
  [{ indices: rowNumbers, values: tensor }, w],
  [new IndexedSlices({ indices: [0], values: tensor }), w],
]);
optimizer.applyGradients(grads.map((each) => [each, w] as const));
optimizer.applyGradientsSync([
  [like, w],
  [gradient, w],
]);
const loss: Promise<Tensor2D> = optimizer.minimize(
  async () => ({ loss: tensor, gradients: [tensor, null] }),
  [w],
);
void loss;
// @ts-expect-error what a tensor tells of itself is no tensor
optimizer.applyGradients([[{ shape: [1, 2], dtype: "float32" }, w]]);
// @ts-expect-error nor are promises of values
optimizer.applyGradients([[tensor.data(), w]]);
