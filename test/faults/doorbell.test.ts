import { afterEach, expect, test, vi } from "vitest";
import { Patience } from "../../packages/core/dist/variable/patience.js";
import { Control, GENERATION } from "../../packages/workers/dist/execute/control.js";
import { Silence } from "../../packages/workers/dist/execute/silence.js";

/** What the doorbell and its watchers promise that no step can be made to show at will. */

afterEach(() => {
  vi.restoreAllMocks();
});

test("no generation says that the pool is closed, after however many steps", () => {
  const control = Control.create(2);
  const seen = new Set<number>();
  for (const start of [0x7fff_fffa, -8, -2]) {
    Atomics.store(control.words, GENERATION, start);
    for (let i = 0; i < 6; i++) seen.add(control.ring(2, i % 2 === 1));
    expect(control.isClosed).toBe(false);
  }
  // Both sides of each wrap, with either mode.
  for (const generation of [0x7fff_fffe, -0x8000_0000, -0x7fff_fffe + 1, -2, 0, 3]) {
    if (generation % 2 === 0) expect([...seen].map((g) => g & ~1)).toContain(generation);
  }
  control.shutDown();
  expect(control.isClosed).toBe(true);
});

test("a lane that was given up begins nothing more, and its late end is nobody's", () => {
  const control = Control.create(2);
  const generation = control.ring(2, true);
  expect(control.started(1, 0)).toBe(true);
  control.lose(1);
  expect(control.started(1, 1)).toBe(false);
  control.finish(1, generation, 1);
  expect(control.isDone(1, generation)).toBe(false);
  control.replace(1);
  control.finish(1, generation, 1);
  expect(control.isDone(1, generation)).toBe(true);
});

test("a caller that gives up at a barrier lets the others leave it", () => {
  const control = Control.create(3);
  control.ring(3, true);
  const looks: number[] = [];
  expect(control.barrier(1, 3, () => looks.push(1) === 3)).toBe(false);
  expect(looks.length).toBe(3);
  expect(control.barrier(1, 3)).toBe(false);
});

/** The time of day in milliseconds, as a test sets it. */
function clock(): { now: number } {
  const time = { now: 0 };
  vi.spyOn(performance, "now").mockImplementation(() => time.now);
  return time;
}

test("a stopped process or a suspended machine does not make the others silent", () => {
  const time = clock();
  const silence = new Silence(60_000);
  const looks = (count: number, progress: number) => {
    for (let i = 0; i < count; i++) {
      time.now += 50;
      if (silence.isTooLong(progress)) return true;
    }
    return false;
  };
  expect(looks(1000, 1)).toBe(false);
  time.now += 3_600_000;
  expect(looks(190, 1)).toBe(false);
  // Progress begins it anew.
  expect(looks(1200, 2)).toBe(false);
  expect(looks(20, 2)).toBe(true);
});

test("nor a reader give up its writer", () => {
  const time = clock();
  vi.spyOn(Atomics, "wait").mockReturnValue("timed-out");
  const patience = new Patience("table");
  for (let i = 0; i < 300; i++) patience.pause();
  time.now += 3_600_000;
  for (let i = 0; i < 100; i++) patience.pause();
  expect(() => {
    for (let i = 0; i < 1000; i++) {
      time.now += 100;
      patience.pause();
    }
  }).toThrow("table cannot be read: a step that writes it does not end.");
});
