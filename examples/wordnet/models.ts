/**
 * The two scoring functions. Both are linear in each of head, relation and tail, so scoring and every gradient
 * come down to three element-wise products of two rows, and dot products with a third row:
 *
 *     score(h, r, t) = forward(h, r) . t = backward(r, t) . h = relation(h, t) . r
 *
 * ComplEx (Trouillon et al. 2016): Re <h, r, conj(t)> over complex numbers. A row of 2d floats holds the d real
 * parts, then the d imaginary parts; then forward is h * r, backward conj(r) * t, relation conj(h) * t.
 * DistMult (Yang et al. 2015): sum of h * r * t over real numbers. It scores (h, r, t) and (t, r, h) the same,
 * so it cannot tell a hypernym from a hyponym by the relation's direction.
 *
 * Each product reads row `a` at offset `aAt` and row `b` at `bAt`, and writes (or adds) to `out` at `outAt`.
 */
export type RowProduct = (
  a: Float32Array,
  aAt: number,
  b: Float32Array,
  bAt: number,
  out: Float32Array,
  outAt: number,
  size: number,
) => void;

export type ModelName = "ComplEx" | "DistMult";

export interface Model {
  readonly name: ModelName;
  /** forward(h, r): the row that dotted with a tail gives the score. */
  readonly forward: RowProduct;
  /** backward(r, t): the row that dotted with a head gives the score. */
  readonly backward: RowProduct;
  /** Adds forward(h, r) to out. */
  readonly addForward: RowProduct;
  /** Adds backward(r, t) to out. */
  readonly addBackward: RowProduct;
  /** Adds relation(h, t), the gradient of the score by r, to out. */
  readonly addRelation: RowProduct;
}

/** out = a * b, or out += a * b, over complex numbers; with `conjugate`, conj(a) * b. Closures keep loops branch-free. */
const complexProduct: RowProduct = (a, aAt, b, bAt, out, outAt, size) => {
  const half = size >> 1;
  for (let k = 0; k < half; k++) {
    const aRe = a[aAt + k]!;
    const aIm = a[aAt + half + k]!;
    const bRe = b[bAt + k]!;
    const bIm = b[bAt + half + k]!;
    out[outAt + k] = aRe * bRe - aIm * bIm;
    out[outAt + half + k] = aRe * bIm + aIm * bRe;
  }
};

const addComplexProduct: RowProduct = (a, aAt, b, bAt, out, outAt, size) => {
  const half = size >> 1;
  for (let k = 0; k < half; k++) {
    const aRe = a[aAt + k]!;
    const aIm = a[aAt + half + k]!;
    const bRe = b[bAt + k]!;
    const bIm = b[bAt + half + k]!;
    out[outAt + k]! += aRe * bRe - aIm * bIm;
    out[outAt + half + k]! += aRe * bIm + aIm * bRe;
  }
};

const conjugateProduct: RowProduct = (a, aAt, b, bAt, out, outAt, size) => {
  const half = size >> 1;
  for (let k = 0; k < half; k++) {
    const aRe = a[aAt + k]!;
    const aIm = a[aAt + half + k]!;
    const bRe = b[bAt + k]!;
    const bIm = b[bAt + half + k]!;
    out[outAt + k] = aRe * bRe + aIm * bIm;
    out[outAt + half + k] = aRe * bIm - aIm * bRe;
  }
};

const addConjugateProduct: RowProduct = (a, aAt, b, bAt, out, outAt, size) => {
  const half = size >> 1;
  for (let k = 0; k < half; k++) {
    const aRe = a[aAt + k]!;
    const aIm = a[aAt + half + k]!;
    const bRe = b[bAt + k]!;
    const bIm = b[bAt + half + k]!;
    out[outAt + k]! += aRe * bRe + aIm * bIm;
    out[outAt + half + k]! += aRe * bIm - aIm * bRe;
  }
};

const realProduct: RowProduct = (a, aAt, b, bAt, out, outAt, size) => {
  for (let k = 0; k < size; k++) out[outAt + k] = a[aAt + k]! * b[bAt + k]!;
};

const addRealProduct: RowProduct = (a, aAt, b, bAt, out, outAt, size) => {
  for (let k = 0; k < size; k++) out[outAt + k]! += a[aAt + k]! * b[bAt + k]!;
};

export const models: Readonly<Record<ModelName, Model>> = {
  ComplEx: {
    name: "ComplEx",
    forward: complexProduct,
    backward: conjugateProduct,
    addForward: addComplexProduct,
    addBackward: addConjugateProduct,
    addRelation: addConjugateProduct,
  },
  DistMult: {
    name: "DistMult",
    forward: realProduct,
    backward: realProduct,
    addForward: addRealProduct,
    addBackward: addRealProduct,
    addRelation: addRealProduct,
  },
};

export function dot(a: Float32Array, aAt: number, b: Float32Array, bAt: number, size: number): number {
  // Four sums side by side: a single one would wait for its own last addition at every step.
  const whole = size & ~3;
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let k = 0; k < whole; k += 4) {
    sum0 += a[aAt + k]! * b[bAt + k]!;
    sum1 += a[aAt + k + 1]! * b[bAt + k + 1]!;
    sum2 += a[aAt + k + 2]! * b[bAt + k + 2]!;
    sum3 += a[aAt + k + 3]! * b[bAt + k + 3]!;
  }
  for (let k = whole; k < size; k++) sum0 += a[aAt + k]! * b[bAt + k]!;
  return sum0 + sum1 + (sum2 + sum3);
}

/** The score of one triple; rows are `size` floats long. */
export function scoreTriple(
  model: Model,
  entities: Float32Array,
  relations: Float32Array,
  size: number,
  triple: readonly [head: number, relation: number, tail: number],
): number {
  const query = new Float32Array(size);
  model.forward(entities, triple[0] * size, relations, triple[1] * size, query, 0, size);
  return dot(query, 0, entities, triple[2] * size, size);
}
