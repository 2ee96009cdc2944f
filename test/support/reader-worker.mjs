import { workerData } from "node:worker_threads";
import { Variable } from "@shardgrad/core";

/**
 * Reads random rows of attached variables again and again until it is told to stop, and counts them. All elements of a
 * row are equal whenever the row is consistent. Words of the control array: see readers.ts.
 */
const { handles, control, seed, rowsAtOnce } = workerData;
const [STOP, READS, TORN] = [0, 1, 2];
const variables = handles.map((handle) => Variable.attach(handle));

let state = seed >>> 0;
function below(end) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 4294967296) * end);
}

function tornRows(values, rowSize) {
  let torn = 0;
  for (let at = 0; at < values.length; at += rowSize) {
    for (let i = 1; i < rowSize; i++) {
      if (Object.is(values[at + i], values[at])) continue;
      torn++;
      break;
    }
  }
  return torn;
}

while (Atomics.load(control, STOP) === 0) {
  const variable = variables[below(variables.length)];
  const rowSize = variable.shape[1];
  const indices = Uint32Array.from({ length: rowsAtOnce }, () => below(variable.shape[0]));
  let rows;
  try {
    rows = variable.gather(indices);
  } catch (error) {
    // Rows may go between the two lines above.
    if (error.code === "ERR_SHARDGRAD_INDEX") continue;
    throw error;
  }
  const torn = tornRows(rows, rowSize);
  if (torn > 0) Atomics.add(control, TORN, torn);
  Atomics.add(control, READS, rowsAtOnce);
}
