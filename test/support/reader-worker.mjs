import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { IndexError, StateError, Variable } from "@shardgrad/core";

/**
 * Reads random rows of attached variables again and again until it is told to stop, and counts them. All elements of a
 * row are equal whenever the row is consistent, or all but a first one that is the row's number. Words of the control
 * array: see readers.ts.
 */
const { port, control, seed, rowsAtOnce, resized } = workerData;
const [STOP, READS, TORN, REFUSED] = [0, 1, 2, 3];
/** Variables that were handed out together; the last ones first. */
const known = [];

let state = seed >>> 0;
function below(end) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 4294967296) * end);
}

function takeHandles() {
  for (;;) {
    const received = receiveMessageOnPort(port);
    if (received === undefined) return;
    known.unshift(received.message.map((handle) => ({ handle, variable: Variable.attach(handle) })));
    known.length = Math.min(known.length, resized === undefined ? 1 : 3);
  }
}

function tornRows(values, rowSize, indices, numbered) {
  const first = resized === undefined ? 0 : 1;
  let torn = 0;
  for (const [row, index] of indices.entries()) {
    const at = row * rowSize;
    // Averages of it may have rounded.
    let whole = !numbered || Math.abs(values[at] - index) < 0.5;
    for (let i = first + 1; i < rowSize; i++) whole &&= Object.is(values[at + i], values[at + first]);
    if (!whole) torn++;
  }
  return torn;
}

/** What may be thrown while rows come and go. */
function mayRefuse(error) {
  if (resized === undefined) return false;
  return (
    error instanceof IndexError || (error instanceof StateError && /take a new handle/.test(error.message))
  );
}

function read({ handle, variable }, numbered) {
  const rowSize = variable.shape.slice(1).reduce((size, length) => size * length, 1);
  // Rows of now, and those that the handle knew.
  const end = resized === undefined || below(2) === 0 ? variable.shape[0] : handle.shape[0];
  if (end === 0) return;
  const indices = Uint32Array.from({ length: rowsAtOnce }, () => below(end));
  try {
    const torn = tornRows(variable.gather(indices), rowSize, indices, numbered);
    if (torn > 0) Atomics.add(control, TORN, torn);
    Atomics.add(control, READS, rowsAtOnce);
  } catch (error) {
    if (!mayRefuse(error)) throw error;
    Atomics.add(control, REFUSED, 1);
  }
}

while (Atomics.load(control, STOP) === 0) {
  takeHandles();
  if (known.length === 0) continue;
  const variables = known[below(known.length)];
  const k = below(variables.length);
  read(variables[k], k < (resized?.numbered ?? 0));
}
port.close();
