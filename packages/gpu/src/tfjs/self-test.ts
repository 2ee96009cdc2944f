import type { UpdatePlan } from "@shardgrad/workers";
import { clipBy, clipByNorm } from "./clipping.js";
import { Scalars } from "./scalars.js";
import { slicesInOrder } from "./slice-sums.js";
import type { Tf, TfTensor } from "./tf.js";
import type { MakeArray, TfArray } from "./tf-array.js";
import { averageUpdate, denseUpdate, rowsUpdate } from "./updates.js";

const update: UpdatePlan = {
  operation: "adagrad",
  dtype: "float32",
  rowSize: 2,
  pin: 0,
  segments: [],
  learningRate: 0.5,
  epsilon: 0,
  perRow: false,
  rowwise: false,
};

/**
 * Whether a back end has all ops that steps use, and float32 numbers: what is wrong with it, or undefined.
 * @throws what its ops throw
 */
export async function selfTest(tf: Tf, makeArray: MakeArray): Promise<string | undefined> {
  const scalars = new Scalars(tf);
  const arrays: TfArray[] = [];
  let kept: TfTensor[] = [];
  const make: MakeArray = (values) => {
    const array = makeArray(values);
    arrays.push(array);
    return array;
  };
  try {
    kept = tf.tidy(() => steps(tf, scalars, make).map((tensor) => tf.keep(tensor)));
    const [fine, ...results] = await Promise.all(kept.map(async (tensor) => Array.from(await tensor.data())));
    if (fine![0] !== 1 + 2 ** -20) return "computes in less than float32";
    const actual = results.flat();
    // Divisions and roots may be a little off.
    const same = expected.every((value, i) => Math.abs(actual[i]! - value) < 1e-5);
    return same ? undefined : `computes wrong: [${actual}] for [${expected}]`;
  } finally {
    scalars.dispose();
    for (const array of arrays) array.dispose();
    for (const tensor of kept) tensor.dispose();
  }
}

/**
 * The cpu back end of tfjs 4.22 writes the result of `tensorScatterUpdate` into its input as well, and with it into every
 * tensor that shares its values. Where that is so, it is given a copy.
 */
export async function withoutSideEffects(tf: Tf): Promise<Tf> {
  const kept: TfTensor[] = [];
  try {
    tf.tidy(() => {
      const input = tf.keep(tf.tensor(Float32Array.of(1, 2), [2, 1], "float32"));
      kept.push(input);
      const at = tf.tensor(Int32Array.of(1), [1, 1], "int32");
      tf.tensorScatterUpdate(input, at, tf.tensor(Float32Array.of(3), [1, 1], "float32"));
    });
    const values = await kept[0]!.data();
    if (values[1] === 2) return tf;
  } finally {
    for (const tensor of kept) tensor.dispose();
  }
  return {
    ...tf,
    tensorScatterUpdate: (x, indices, updates) =>
      tf.tidy(() => {
        const one = tf.tensor(Float32Array.of(1), [1], "float32");
        return tf.tensorScatterUpdate(tf.mul(x, one), indices, updates);
      }),
  };
}

/** The variable after the dense step, with its average, and after the one on rows. */
const expected = [0.5, 1.5, 2.5, 3.5, 0.75, 1.75, 2.75, 3.75, 1, 2, 2.5625, 3.5625];

/** Numbers whose results are exact: a dense step with an average, and one whose two slices name the same row. */
function steps(tf: Tf, scalars: Scalars, make: MakeArray): TfTensor[] {
  const float = (values: number[], shape: number[]) => tf.tensor(Float32Array.from(values), shape, "float32");
  const array = (values: number[]) => make(float(values, [2, 2]));
  // The norm is 6: clipped by it to 3, a gradient of 3 is 1.5.
  const context = { tf, scalars, update, clip: clipByNorm(tf, 3, 6, scalars) };
  const dense = { variable: array([1, 2, 3, 4]), accumulator: array([0, 0, 0, 0]) };
  const average = array([1, 2, 3, 4]);
  denseUpdate(context, dense, float([3, 3, 3, 3], [4]));
  averageUpdate(tf, scalars, dense.variable, average, { momentum: 0.5, overwrite: false });
  // 39 + 9 + 16 = 64: the second row moves by 0.5 * (3 + 4) / 8.
  const rows = { variable: array([1, 2, 3, 4]), accumulator: array([0, 0, 39, 39]) };
  rowsUpdate({ ...context, clip: clipBy(tf, { kind: "value", limit: 10 }, scalars) }, rows, {
    values: float([3, 3, 4, 4], [2, 2]),
    rows: tf.tensor(Int32Array.of(1), [1], "int32"),
    // Both slices name the row.
    sums: slicesInOrder(tf, { order: Uint32Array.of(0, 1), groups: Uint32Array.of(1, 0, 2, 0) }),
  });
  const fine = tf.add(float([1], [1]), float([2 ** -20], [1]));
  return [fine, dense.variable.values(), average.values(), rows.variable.values()];
}
