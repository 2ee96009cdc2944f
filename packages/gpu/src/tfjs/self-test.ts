import type { UpdatePlan } from "@shardgrad/workers";
import { clipBy, clipByNorm } from "./clipping.js";
import { Scalars } from "./scalars.js";
import { slicesInOrder } from "./slice-sums.js";
import type { Tf, TfTensor } from "./tf.js";
import { denseUpdate, rowsUpdate } from "./updates.js";

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
export async function selfTest(tf: Tf): Promise<string | undefined> {
  const scalars = new Scalars(tf);
  let kept: TfTensor[] = [];
  try {
    kept = tf.tidy(() => steps(tf, scalars).map((tensor) => tf.keep(tensor)));
    const [fine, dense, rows] = await Promise.all(
      kept.map(async (tensor) => Array.from(await tensor.data())),
    );
    if (fine![0] !== 1 + 2 ** -20) return "computes in less than float32";
    const expected = [0.5, 1.5, 2.5, 3.5, 1, 2, 2.5625, 3.5625];
    const actual = [...dense!, ...rows!];
    // Divisions and roots may be a little off.
    const same = actual.length === 8 && actual.every((value, i) => Math.abs(value - expected[i]!) < 1e-5);
    return same ? undefined : `computes wrong: [${actual}] for [${expected}]`;
  } finally {
    scalars.dispose();
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

/** Numbers whose results are exact: a dense step, and one whose two slices name the same row. */
function steps(tf: Tf, scalars: Scalars): TfTensor[] {
  const float = (values: number[], shape: number[]) => tf.tensor(Float32Array.from(values), shape, "float32");
  const gradient = float([3, 3, 3, 3], [4]);
  // The norm is 6: clipped by it to 3, a gradient of 3 is 1.5.
  const clip = clipByNorm(tf, 3, 6, scalars);
  const context = { tf, scalars, update, clip };
  const tensors = () => ({
    variable: float([1, 2, 3, 4], [4]),
    accumulator: float([0, 0, 0, 0], [4]),
    average: undefined,
  });
  const dense = denseUpdate(context, tensors(), gradient);
  // 39 + 9 + 16 = 64: the second row moves by 0.5 * (3 + 4) / 8.
  const rows = rowsUpdate(
    { ...context, clip: clipBy(tf, { kind: "value", limit: 10 }, scalars) },
    { ...tensors(), accumulator: float([0, 0, 39, 39], [4]) },
    {
      values: float([3, 3, 4, 4], [2, 2]),
      rows: tf.tensor(Int32Array.of(1), [1], "int32"),
      // Both slices name the row.
      sums: slicesInOrder(tf, { order: Uint32Array.of(0, 1), groups: Uint32Array.of(1, 0, 2, 0) }),
    },
  );
  const fine = tf.add(float([1], [1]), float([2 ** -20], [1]));
  return [fine, dense.variable, rows.variable];
}
