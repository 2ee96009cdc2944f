/**
 * The model in one file: a line of JSON, then the variables and their accumulators as raw float32 of this machine's
 * byte order.
 */
import { access, constants, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Variable } from "@shardgrad/core";
import type { Model, ModelOptions } from "./model.js";

/** The file does not hold a model of the settings that were asked for, or cannot be written. */
export class SavedModelError extends Error {
  override readonly name = "SavedModelError";
}

interface Header {
  readonly options: ModelOptions;
  readonly iterations: number;
}

const newline = 0x0a;

/** The variables that make up the state, in the order of the file. */
function state({ table, bias, optimizer }: Model): readonly Variable[] {
  return [table, bias, ...optimizer.accumulators];
}

/** Told at the start rather than at the end, when what was learned would be lost. @throws SavedModelError */
export async function checkPlace(path: string): Promise<void> {
  try {
    await access(dirname(path), constants.W_OK);
  } catch (cause) {
    throw new SavedModelError(`No model can be saved as ${path}: its folder cannot be written`, { cause });
  }
}

/** Written beside the file and put into its place at the end: a crash leaves the old model or the new one. */
export async function saveModel(model: Model, path: string): Promise<void> {
  const header: Header = { options: model.options, iterations: model.optimizer.iterations };
  // Files are written from memory that is not shared.
  const parts = state(model).map(({ data }) => Buffer.from((data as Float32Array).slice().buffer));
  const fresh = `${path}.new`;
  await writeFile(fresh, Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...parts]));
  await rename(fresh, path);
}

/** Continues a new model from what was saved; false if nothing was. @throws SavedModelError */
export async function restoreModel(model: Model, path: string): Promise<boolean> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
  const start = bytes.indexOf(newline) + 1;
  const { options, iterations } = readHeader(bytes.toString("utf8", 0, start), path);
  if (JSON.stringify(options) !== JSON.stringify(model.options)) {
    throw new SavedModelError(`${path} holds a model of other settings: ${JSON.stringify(options)}`);
  }
  model.build(iterations);
  const size = state(model).reduce((sum, variable) => sum + variable.size, 0);
  if (bytes.length - start !== 4 * size) {
    throw new SavedModelError(`${path} has ${bytes.length - start} bytes of numbers, expected ${4 * size}`);
  }
  // A copy, because floats must begin at a multiple of four.
  const numbers = new Float32Array(Uint8Array.from(bytes.subarray(start)).buffer);
  let at = 0;
  for (const variable of state(model)) {
    variable.assign(numbers.subarray(at, at + variable.size));
    at += variable.size;
  }
  return true;
}

function readHeader(text: string, path: string): Header {
  try {
    return JSON.parse(text) as Header;
  } catch (cause) {
    throw new SavedModelError(`${path} is not a saved model`, { cause });
  }
}
