import { MemoryPool, TemporaryBlocks } from "@shardgrad/workers";
import { expect, test } from "vitest";
import { Random } from "../support/random.js";

const KiB = 1024;

function newArena(bytes: number) {
  const pool = new MemoryPool(bytes);
  pool.ensureArena();
  return pool.arenas[0]!;
}

/** The largest block that there is room for. */
function largest(arena: ReturnType<typeof newArena>): number {
  let [most, none] = [0, arena.capacity + 1];
  while (none - most > 1) {
    const middle = Math.floor((most + none) / 2);
    const block = arena.allocate(middle, false);
    if (block === undefined) none = middle;
    else {
      most = middle;
      arena.release(block);
    }
  }
  return most;
}

test("blocks of any size do not overlap, and all of the memory comes back", () => {
  const arena = newArena(4096 * KiB);
  const before = largest(arena);
  const blocks = new TemporaryBlocks();
  const random = new Random(1);
  for (let round = 0; round < 2; round++) {
    const taken: [start: number, end: number][] = [];
    for (let i = 0; i < 400; i++) {
      const bytes = 4 * random.below(i % 20 === 0 ? 4000 : 300);
      const start = blocks.take(arena, bytes);
      expect(start % 64).toBe(0);
      taken.push([start, start + bytes]);
    }
    taken.sort(([a], [b]) => a - b);
    for (let i = 1; i < taken.length; i++) expect(taken[i]![0]).toBeGreaterThanOrEqual(taken[i - 1]![1]);
    blocks.release();
    expect(largest(arena)).toBe(before);
  }
});

test("small blocks find room where none is left for many together; then there is none", () => {
  const arena = newArena(256 * KiB);
  const blocks = new TemporaryBlocks();
  let count = 0;
  while (blocks.take(arena, 250) >= 0) count++;
  // A block by itself takes 320 bytes, one that is cut 256.
  expect(count).toBeGreaterThan(arena.capacity / 320);
  expect(largest(arena)).toBeLessThan(250);
  blocks.release();
  expect(blocks.take(arena, 100 * KiB)).toBeGreaterThan(0);
});
