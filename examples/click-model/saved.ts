/** The model on disk: its settings in JSON, and the variables with their accumulators as raw float32. */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Variable } from "@shardgrad/core";
import type { Model, ModelOptions } from "./model.js";

/** What is in the directory is not a model of the settings that were asked for. */
export class SavedModelError extends Error {
  override readonly name = "SavedModelError";
}

interface Saved {
  readonly options: ModelOptions;
  readonly iterations: number;
}

/** The variables that make up the state, by the name of their file. */
function state({ table, bias, optimizer }: Model): [string, Variable][] {
  return [
    ["table.f32", table],
    ["bias.f32", bias],
    ["table-accumulator.f32", optimizer.accumulators[0]!],
    ["bias-accumulator.f32", optimizer.accumulators[1]!],
  ];
}

/** Writes to a new directory and puts it into place at the end, so that a crash leaves the old one or the new one. */
export async function saveModel(model: Model, directory: string): Promise<void> {
  const fresh = `${directory}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  for (const [file, variable] of state(model)) {
    // Files are written from memory that is not shared.
    await writeFile(join(fresh, file), (variable.data as Float32Array).slice());
  }
  const saved: Saved = { options: model.options, iterations: model.optimizer.iterations };
  await writeFile(join(fresh, "model.json"), `${JSON.stringify(saved, undefined, 2)}\n`);
  await rm(directory, { recursive: true, force: true });
  await rename(fresh, directory);
}

/** Continues a new model from what was saved; false if nothing was. @throws SavedModelError */
export async function restoreModel(model: Model, directory: string): Promise<boolean> {
  let text: string;
  try {
    text = await readFile(join(directory, "model.json"), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
  const saved = JSON.parse(text) as Saved;
  if (JSON.stringify(saved.options) !== JSON.stringify(model.options)) {
    throw new SavedModelError(
      `${directory} holds a model of other settings: ${JSON.stringify(saved.options)}`,
    );
  }
  model.build(saved.iterations);
  for (const [file, variable] of state(model)) {
    const bytes = await readFile(join(directory, file));
    if (bytes.byteLength !== 4 * variable.size) {
      throw new SavedModelError(`${file} has ${bytes.byteLength} bytes, expected ${4 * variable.size}`);
    }
    variable.assign(new Float32Array(Uint8Array.from(bytes).buffer));
  }
  return true;
}
