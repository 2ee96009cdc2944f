import type { DType } from "@shardgrad/workers";
import { ArgumentError } from "../errors/index.js";
import { runtimeInternals } from "../runtime/internals.js";
import { packageVersion } from "../version.js";
import type { Readable } from "./gather.js";
import type { VariableInternals } from "./internals.js";
import type { RowLayout, RowSegment } from "./row-layout.js";
import { readerOf } from "./row-reader.js";
import { placeOf } from "./segment-tables.js";

/**
 * What another thread needs to read a variable: a plain object for `postMessage` or `workerData`. What it holds beside
 * name, shape and dtype is for `Variable.attach` of the same version of this package only.
 */
export interface VariableHandle {
  /** Version of the package that made it. */
  readonly version: string;
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** @internal */
  readonly layout: RowLayout;
  /** @internal */
  readonly header: SharedArrayBuffer;
  /** @internal */
  readonly tables: readonly SharedArrayBuffer[];
  /** @internal */
  readonly guard: SharedArrayBuffer;
  /** @internal */
  readonly isSlot: boolean;
}

interface Described {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** Where a variable lies now. */
export function layoutOf({ name, dtype }: Described, internals: VariableInternals): RowLayout {
  const { storage, model, header, rowSize } = internals;
  const segments = storage.segments.map((segment, i): RowSegment => {
    const { home, start, count, room, block, versions } = segment;
    return {
      memory: home.arena.memory,
      start,
      count,
      capacity: room.capacity,
      offset: block.offset,
      modelOffset: (model?.storage.segments[i] ?? segment).block.offset,
      versions: versions.block.offset,
      mask: versions.mask,
      place: placeOf(segment),
    };
  });
  return { name, dtype, rowSize, shift: header.shift, segments };
}

/** The variable as its own thread reads it. */
export function readableOf(variable: Described, internals: VariableInternals): Readable {
  const { header, runtime } = internals;
  const { memory } = runtime[runtimeInternals];
  const layout = layoutOf(variable, internals);
  header.watch();
  return {
    shape: variable.shape,
    get rows() {
      return header.rows;
    },
    layout,
    reader: readerOf(layout, header, false),
    liesIn: (segment, buffer) => memory.arenaOfBuffer(buffer)?.id === layout.segments[segment]!.place[0],
  };
}

export function makeHandle(variable: Described, internals: VariableInternals): VariableHandle {
  const { header } = internals;
  header.handedOut();
  header.watch();
  return {
    version: packageVersion,
    name: variable.name,
    shape: [...variable.shape],
    dtype: variable.dtype,
    layout: layoutOf(variable, internals),
    header: header.buffer,
    tables: header.furtherTables,
    guard: header.guard.buffer as SharedArrayBuffer,
    isSlot: header.isSlot,
  };
}

/** @throws ArgumentError for what is no handle, or one of another version */
export function checkHandle(handle: unknown): asserts handle is VariableHandle {
  const given = handle as Partial<VariableHandle> | null | undefined;
  const version = given?.version;
  const isWhole = [given?.header, given?.guard].every((part) => part instanceof SharedArrayBuffer);
  if (typeof version !== "string" || !isWhole) {
    const expected = "what `variable.handle()` returned";
    throw new ArgumentError({ argument: "handle", received: handle, expected });
  }
  if (version === packageVersion) return;
  const message =
    `\`handle\` was made by version ${version} of @shardgrad/core, and this is ${packageVersion}: ` +
    "both threads must use the same.";
  throw new ArgumentError({
    argument: "handle",
    received: version,
    expected: `a handle of version ${packageVersion}`,
    message,
  });
}
