// The compiled kernels on a memory of the tests' own, and typed access to it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { NativeLibrary } from "../../packages/workers/dist/kernels/native.js";
import { wasm } from "../../packages/workers/dist/kernels/webassembly.js";
import { halfBits, halfValue } from "./reference.js";

export type DType = "F32" | "F64" | "F16";
export const dtypes: readonly DType[] = ["F32", "F64", "F16"];
const bytesOf = { F32: 4, F64: 8, F16: 2 };

const path = new URL("../../packages/workers/dist/kernels.wasm", import.meta.url);
const module = new wasm.Module(readFileSync(path));
export const memory = new wasm.Memory({ initial: 256, maximum: 65_536, shared: true });
const instance = new wasm.Instance(module, { env: { memory } });
const view = new DataView(memory.buffer);

export const exported = instance.exports as Record<string, unknown>;

/** The native instruction set that this run is about; none for WebAssembly. */
const wanted = process.env.SHARDGRAD_TEST_KERNELS ?? "wasm";
const library = wanted === "wasm" ? undefined : nativeLibrary();
const set = library?.sets.find(({ instructions }) => instructions === wanted);
if (library !== undefined && set === undefined) throw new Error(`This processor has no ${wanted}.`);
const address = library?.addressOf(new Uint8Array(memory.buffer)) ?? 0;

function nativeLibrary(): NativeLibrary {
  const path = `../../packages/workers/dist/native/${process.platform}-${process.arch}.node`;
  return createRequire(import.meta.url)(path) as NativeLibrary;
}

/** Native kernels take typed arrays, which are aligned to their elements; WebAssembly's take any offset. */
function aligned(offset: number, dtype: DType): number {
  return library === undefined ? offset : offset * bytesOf[dtype];
}

/** Whether row kernels reach arrays outside of the memory that they are called on. */
export const reachesAll = library !== undefined;

/** Calls a native kernel on the memory that begins at an offset of this one. */
export function callFrom(base: number, name: string, ...args: number[]): void {
  const program = new Float64Array(22);
  program.set(args);
  set!.run(set!.kernels.indexOf(name), address + base, program, 0);
}

export function call(name: string, ...args: number[]): number {
  if ((set?.kernels.indexOf(name) ?? -1) >= 0) {
    callFrom(0, name, ...args);
    return 0;
  }
  return (exported[name] as (...args: number[]) => number)(...args);
}

// biome-ignore format: one accessor a line
const read = {
  F32: (at: number) => view.getFloat32(at, true),
  F64: (at: number) => view.getFloat64(at, true),
  F16: (at: number) => halfValue(view.getUint16(at, true)),
};
// biome-ignore format: one accessor a line
const write = {
  F32: (at: number, value: number) => view.setFloat32(at, value, true),
  F64: (at: number, value: number) => view.setFloat64(at, value, true),
  F16: (at: number, value: number) => view.setUint16(at, halfBits(value), true),
};

const GUARD = 0xa5;
let end = 65_536;

/** Forgets all arrays. */
export function reset(): void {
  end = 65_536;
}

export interface Place {
  readonly at: number;
  readonly bytes: number;
}

/** Room for `bytes`, off the 64-byte boundary by `offset`, with guard bytes around it. */
export function reserve(bytes: number, offset = 0): Place {
  const at = Math.ceil((end + 64) / 64) * 64 + offset;
  end = at + bytes + 64;
  if (end > memory.buffer.byteLength) throw new Error("The tests' memory is full.");
  new Uint8Array(memory.buffer, at - 16, bytes + 32).fill(GUARD);
  return { at, bytes };
}

/** Throws when a kernel wrote beside the array. */
export function checkGuards({ at, bytes }: Place): void {
  for (let i = 1; i <= 16; i++) {
    if (view.getUint8(at - i) !== GUARD || view.getUint8(at + bytes + i - 1) !== GUARD) {
      throw new Error(`Bytes beside the array at ${at} were overwritten.`);
    }
  }
}

export class Floats {
  readonly place: Place;
  readonly count: number;
  readonly #dtype: DType;

  constructor(dtype: DType, values: ArrayLike<number>, offset = 0) {
    this.#dtype = dtype;
    this.count = values.length;
    this.place = reserve(values.length * bytesOf[dtype], aligned(offset, dtype));
    for (let i = 0; i < this.count; i++) write[dtype](this.at + i * bytesOf[dtype], values[i]!);
  }

  get at(): number {
    return this.place.at;
  }

  read(): Float64Array {
    checkGuards(this.place);
    return Float64Array.from({ length: this.count }, (_, i) =>
      read[this.#dtype](this.at + i * bytesOf[this.#dtype]),
    );
  }
}

export function placeIndices(indices: ArrayLike<number>, offset = 0): Place {
  const place = reserve(indices.length * 4, library === undefined ? offset : 0);
  writeWords(place.at, indices);
  return place;
}

export function placeDoubles(values: readonly number[]): Place {
  const place = reserve(values.length * 8);
  values.forEach((value, i) => {
    view.setFloat64(place.at + i * 8, value, true);
  });
  return place;
}

export function writeWords(at: number, words: ArrayLike<number>): void {
  for (let i = 0; i < words.length; i++) view.setUint32(at + i * 4, words[i]!, true);
}

export function readDoubles(at: number, count: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => view.getFloat64(at + i * 8, true));
}

export function readWords(at: number, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(at + i * 4, true));
}
