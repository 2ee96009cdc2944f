import type { SegmentPlan, UpdatePlan } from "@shardgrad/workers";

/**
 * The updates of the steps in a journal, without their gradients and rates. Steps over the same variables share them:
 * a journal of many steps over many small variables would fill the heap otherwise.
 */
export class JournalUpdates {
  readonly #known = new Map<number, UpdatePlan>();
  #last: readonly UpdatePlan[] = [];

  /** What is kept of a step's updates, in their order. */
  of(updates: readonly UpdatePlan[]): readonly UpdatePlan[] {
    const last = this.#last;
    if (last.length === updates.length && updates.every((update, i) => isAlike(last[i]!, update)))
      return last;
    this.#last = updates.map((update) => {
      const known = this.#known.get(update.pin);
      if (known !== undefined && isAlike(known, update)) return known;
      const kept = { ...update, segments: update.segments.map(withoutGradient) };
      this.#known.set(update.pin, kept);
      return kept;
    });
    return this.#last;
  }

  clear(): void {
    this.#known.clear();
    this.#last = [];
  }
}

function withoutGradient(segment: SegmentPlan): SegmentPlan {
  const { behind: _, ...kept } = segment;
  return { ...kept, gradient: { kind: "none" } };
}

/** Whether two updates differ in gradient and rate at most. */
function isAlike(a: UpdatePlan, b: UpdatePlan): boolean {
  return (
    a.operation === b.operation &&
    a.pin === b.pin &&
    a.rowSize === b.rowSize &&
    a.epsilon === b.epsilon &&
    a.perRow === b.perRow &&
    a.rowwise === b.rowwise &&
    a.segments.length === b.segments.length &&
    a.segments.every((segment, i) => isSame(segment, b.segments[i]!))
  );
}

function isSame(a: SegmentPlan, b: SegmentPlan): boolean {
  return (
    a.variable === b.variable &&
    a.accumulator === b.accumulator &&
    a.average === b.average &&
    a.lazy === b.lazy &&
    a.count === b.count &&
    a.memory === b.memory &&
    a.versions === b.versions &&
    a.versionMask === b.versionMask
  );
}
