import type { PendingFill } from "./initializers.js";

/** Elements that are filled between two looks at the event loop: some tenths of a millisecond, first touch included. */
export const FILL_CHUNK = 262_144;

/** Fills what is pending, a part each time that the next value is asked for. */
export function* fillInParts(pending: Iterable<PendingFill>): Generator<void, void, unknown> {
  for (const { view, start, fill } of pending) {
    for (let at = 0; at < view.length; at += FILL_CHUNK) {
      fill(view.subarray(at, at + FILL_CHUNK), start + at);
      yield;
    }
  }
}
