import { type DType, dtypeInfo } from "@shardgrad/workers";
import { type Initializer, isCopy, newValues, type PendingFill } from "./initializers.js";
import { type VariableInternals, variableInternals } from "./internals.js";
import type { ReadableVariable } from "./readable-variable.js";
import { discard, fillsOf, newElements, planBeside, planResize, type StoragePlan } from "./resize-plan.js";
import type { StorageSegment } from "./segments.js";
import { rowPlacement, Storage } from "./storage.js";
import { rowSizeOf, sizeOf } from "./values.js";
import type { Variable } from "./variable.js";

/** A resize of a variable that has its memory, and that nobody sees yet. */
export interface RowResize {
  /** Rows before. */
  readonly before: number;
  /** Rows after. */
  readonly rows: number;
  readonly rowSize: number;
  /** The variable's segments after; of those that stay, `storage.segments` has the sizes before. */
  readonly plan: StoragePlan;
  /** Whether new segments have room for further rows. */
  readonly generous: boolean;
}

/** What changes its number of rows with a variable: slots, and what else is kept for each row. */
export interface RowFollower {
  /** Bytes that `fills` write for each new row, if any; zeros that stay untouched are none. */
  readonly writtenPerRow?: number;
  /**
   * Takes all memory that the resize needs; nothing of it may show yet.
   * @throws MemoryExhaustedError; the follower has given back what it took, and the resize does not happen
   */
  prepare(resize: RowResize): PreparedRows;
}

/** Exactly one of `commit` and `discard` is called. Neither may fail. */
export interface PreparedRows {
  /** What fills the new rows, after the variable's own were filled and before `commit`, in parts. */
  readonly fills: readonly PendingFill[];
  /** Shows the new rows, or lets the old ones go. Runs in one turn with the variable's own. */
  commit(): void;
  /** Gives back what `prepare` took. */
  discard(): void;
}

/** An optimizer's slot, which has an element for each element or for each row of its model variable. */
export class SlotRows implements RowFollower {
  readonly #slot: ReadableVariable;
  readonly #initializer: Initializer;

  constructor(slot: ReadableVariable, initializer: Initializer) {
    this.#slot = slot;
    this.#initializer = initializer;
  }

  get writtenPerRow(): number {
    const { shape, dtype } = this.#slot;
    return this.#initializer === "zeros" ? 0 : rowSizeOf(shape) * dtypeInfo[dtype].bytes;
  }

  prepare(resize: RowResize): PreparedRows {
    const slot = this.#slot;
    const internals: VariableInternals = slot[variableInternals];
    const { storage } = internals;
    const added = Math.max(0, resize.rows - resize.before);
    const copies = isCopy(this.#initializer);
    // First, as an initializer of the user's may throw.
    const values =
      copies || added === 0
        ? undefined
        : newValues(this.#initializer, [added, ...slot.shape.slice(1)], slot.dtype);
    const plan = slotPlan(internals, slot.shape.length, resize);
    try {
      internals.header.makeRoom(plan.segments.length);
    } catch (error) {
      discard(storage.memory, plan);
      throw error;
    }
    const rows = newElements(storage, plan);
    // Its room must stay its own while it is being filled, even if the slot is disposed of.
    storage.hold();
    const drop = () => {
      discard(storage.memory, plan);
      storage.letGo();
    };
    return {
      fills: copies ? copyFills(rows, resize.plan.segments) : fillsOf(rows, values),
      commit: () => {
        if (slot.disposed) return drop();
        internals.publish(resize.rows, plan);
        storage.letGo();
      },
      discard: drop,
    };
  }
}

function slotPlan({ storage, rowSize }: VariableInternals, rank: number, resize: RowResize): StoragePlan {
  // Rows without elements: one element a row has no place beside them.
  if (rank === 1 && resize.rowSize === 0) return planResize(storage, resize.rows, 1, resize.generous);
  const same = rowSize === resize.rowSize;
  return planBeside(storage, resize.plan, (segment) => {
    if (!same) return rowPlacement(segment, resize.rowSize);
    const { home, start, count, room, versions } = segment;
    return { home, start, count, capacity: room.capacity, versions };
  });
}

function copyFills(
  added: ReturnType<typeof newElements>,
  sources: readonly StorageSegment[],
): readonly PendingFill[] {
  return added.map(({ segment, index, from }) => {
    segment.room.clean = Math.max(segment.room.clean, segment.count);
    const source = sources[index]!.view;
    return {
      view: segment.view.subarray(from),
      start: from,
      fill: (view, start) => view.set(source.subarray(start, start + view.length)),
    };
  });
}

/** Storage in the memories of a model variable: of its shape, or with one element for each of its rows. */
export function storageBeside(model: Variable, shape: readonly number[], dtype: DType): Storage {
  const { storage, rowSize } = model[variableInternals];
  if (shape.length === model.shape.length) return Storage.beside(storage, dtype);
  // Rows without elements: one element a row has no place beside them.
  if (rowSize === 0) return Storage.create(storage.memory, dtype, sizeOf(shape), 1);
  return Storage.besideRows(storage, dtype, rowSize);
}

/** Lets something follow a variable's rows; what is returned ends it. */
export function follow(model: Variable, follower: RowFollower): () => void {
  const { followers } = model[variableInternals];
  followers.add(follower);
  return () => {
    followers.delete(follower);
  };
}
