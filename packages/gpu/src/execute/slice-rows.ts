import { setImmediate } from "node:timers/promises";
import type { HostMemory, SegmentGradient, SegmentPlan, StepPlan } from "@shardgrad/workers";
import { groupingRows, groupRows, type RowGroups } from "./row-groups.js";

/** Slices that are looked at between two turns of the event loop: some tenths of a millisecond. */
const WORK = 1 << 16;

/**
 * The slices of steps by row: grouped before the launch, with turns of the event loop in between, or at the launch.
 *
 * Invariant: what is kept belongs to a gradient of a plan whose row numbers stay as they are until its step has ended.
 */
export class SliceRows {
  readonly #host: HostMemory;
  readonly #grouped = new WeakMap<SegmentGradient, RowGroups>();

  constructor(host: HostMemory) {
    this.#host = host;
  }

  /** Groups the slices of a plan that is about to be launched. */
  async group({ updates }: StepPlan): Promise<void> {
    let work = 0;
    for (const { segments } of updates) {
      for (const segment of segments) {
        const { gradient } = segment;
        if (gradient.kind !== "slices" || gradient.count === 0) continue;
        const grouping = groupingRows(this.#indices(segment));
        let next = grouping.next();
        for (; !next.done; next = grouping.next()) {
          work += Math.min(gradient.count, WORK);
          if (work < WORK) continue;
          work = 0;
          await setImmediate();
        }
        this.#grouped.set(gradient, next.value);
      }
    }
  }

  of(segment: SegmentPlan): RowGroups {
    const known = this.#grouped.get(segment.gradient);
    return known ?? groupRows(this.#indices(segment));
  }

  #indices({ memory, gradient }: SegmentPlan): Uint32Array {
    if (gradient.kind !== "slices") throw new TypeError("The segment has no slices.");
    const { buffer, byteOffset } = this.#host.bytes(memory, gradient.indices, 4 * gradient.count);
    return new Uint32Array(buffer, byteOffset, gradient.count);
  }
}
