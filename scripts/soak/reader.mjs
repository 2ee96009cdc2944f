/**
 * A thread that reads the watched table again and again: through the newest handles and some older ones. Reports by words
 * of a shared array what it has seen, and what was wrong by a message.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { DisposedVariableError, IndexError, StateError, Variable } from "@shardgrad/core";
import { Random } from "./random.mjs";
import { words } from "./reader-words.mjs";
import { wrongRow } from "./watched.mjs";

const { control, port, seed } = workerData;
const random = new Random(seed);
/** Handles that are kept, old ones included. */
const KEPT = 4;
/** @type {import("@shardgrad/core").AttachedVariable[][]} */
const known = [];

while (Atomics.load(control, words.stop) === 0) {
  takeHandles();
  if (known.length === 0) {
    Atomics.wait(control, words.stop, 0, 1);
    continue;
  }
  const set = known[random.below(known.length)];
  const k = random.below(set.length);
  const problem = read(set[k], k < 2);
  if (problem !== undefined) {
    parentPort.postMessage(problem);
    break;
  }
}
port.close();

/**
 * @param {{ handle: import("@shardgrad/core").VariableHandle, array: import("@shardgrad/core").AttachedVariable }} attached
 * @param {boolean} isNumbered
 */
function read({ handle, array }, isNumbered) {
  const rows = array.shape[0];
  if (rows === 0) return undefined;
  // Half of the time rows that the handle knew: those are there unless they have gone.
  const end = random.below(2) === 0 ? rows : handle.shape[0];
  const indices = Uint32Array.from({ length: 40 }, () => random.below(end));
  try {
    const wrong = wrongRow(array.gather(indices), indices, isNumbered);
    Atomics.add(control, words.reads, 1);
    return wrong === undefined ? undefined : `${array.name}: ${wrong}`;
  } catch (error) {
    const word = refusal(error);
    if (word === undefined) return `${array.name}: ${error instanceof Error ? error.stack : error}`;
    Atomics.add(control, word, 1);
    return undefined;
  }
}

/** The word that counts a refusal of a documented kind. @param {unknown} error */
function refusal(error) {
  if (error instanceof DisposedVariableError) return words.disposed;
  if (error instanceof IndexError) return words.gone;
  if (error instanceof StateError && error.message.includes("take a new handle")) return words.later;
  return undefined;
}

function takeHandles() {
  for (;;) {
    const received = receiveMessageOnPort(port);
    if (received === undefined) return;
    try {
      known.unshift(received.message.map((handle) => ({ handle, array: Variable.attach(handle) })));
    } catch (error) {
      // A table that was given away in the meantime.
      if (!(error instanceof DisposedVariableError)) throw error;
      Atomics.add(control, words.disposed, 1);
    }
    known.length = Math.min(known.length, KEPT);
  }
}
