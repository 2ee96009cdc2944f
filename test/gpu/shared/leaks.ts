import { afterEach, beforeEach, expect } from "vitest";
import { accelerator } from "../accelerators/tested.js";

/** Begins each test with a device as new, and ends it with nothing left on it: each test closes its runtimes. */
export function expectNothingLeft(): void {
  let before = 0;
  beforeEach(() => {
    accelerator.reset();
    before = accelerator.left();
  });
  afterEach(() => {
    expect(accelerator.left() - before, "things of the driver that were not given back").toBe(0);
  });
}
