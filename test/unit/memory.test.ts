import { Adagrad, MemoryExhaustedError, Runtime, Variable } from "@shardgrad/core";
import { MemoryPool } from "@shardgrad/workers";
import { expect, test } from "vitest";
import { Random } from "../support/random.js";

test("10,000 variables that come and go with their optimizers do not make the memory grow", async () => {
  const runtime = new Runtime({ threads: 0 });
  const random = new Random(1);
  const cycle = async () => {
    const w = Variable.ones([random.below(5000), 1 + random.below(4)], { runtime });
    const optimizer = new Adagrad({ useEma: true, runtime });
    const gradient = runtime.allocate(w.size);
    await optimizer.applyGradients([[gradient, w]]);
    runtime.release(gradient);
    for (const variable of [w, ...optimizer.variables]) variable.dispose();
  };
  for (let i = 0; i < 200; i++) await cycle();
  const held = runtime.memoryBytes;
  for (let i = 0; i < 10_000; i++) await cycle();
  expect(runtime.memoryBytes).toBe(held);
  await runtime.close();
}, 60_000);

test("gradients that are copied in leave no memory behind", async () => {
  const runtime = new Runtime({ threads: 2, inlineThreshold: 0 });
  const table = Variable.ones([1000, 8], { runtime });
  const optimizer = new Adagrad({ globalClipnorm: 1, runtime });
  const gradient = { indices: Uint32Array.of(1, 5, 1), values: new Float32Array(24) };
  const step = () => optimizer.applyGradients([[gradient, table]]);
  for (let i = 0; i < 10; i++) await step();
  const held = runtime.memoryBytes;
  for (let i = 0; i < 1000; i++) await step();
  for (let i = 0; i < 1000; i++) optimizer.applyGradientsSync([[gradient, table]]);
  expect(runtime.memoryBytes).toBe(held);
  await runtime.close();
});

test("refused steps leave no memory behind", async () => {
  const runtime = new Runtime({ threads: 0 });
  const w = Variable.ones([10_000], { runtime });
  const optimizer = new Adagrad({ runtime });
  const refuse = async () => {
    const pairs = [
      [new Float32Array(10_000), w],
      [[1, 2], new Variable([1, 2, 3], { runtime })],
    ] as const;
    await expect(optimizer.applyGradients(pairs)).rejects.toThrow();
    pairs[1][1].dispose();
  };
  for (let i = 0; i < 10; i++) await refuse();
  const held = runtime.memoryBytes;
  for (let i = 0; i < 2000; i++) await refuse();
  expect(runtime.memoryBytes).toBe(held);
  await runtime.close();
});

test("blocks do not collide in the caches: bases differ modulo large powers of two", () => {
  const runtime = new Runtime({ threads: 0 });
  const offsets = Array.from({ length: 4 }, () => Variable.zeros([1 << 20], { runtime }).data.byteOffset);
  expect(new Set(offsets.map((offset) => offset % (1 << 20))).size).toBe(4);
});

test("an array finds room in another memory where its own is full of what nothing was promised to", () => {
  const memory = new MemoryPool(2 ** 20);
  memory.ensureArena();
  const [first] = memory.arenas;
  const copied = first!.allocate(800_000)!; // as the copied gradients of a step
  const { block, release } = memory.lend(400_000);
  expect(block.arena.id).toBe(1);
  first!.release(copied);
  release();
  expect(memory.arenas.map(({ reserved }) => reserved)).toEqual([0, 0]);
});

test("an array that is larger than a memory leaves none behind that was made in vain", () => {
  const runtime = new Runtime({ threads: 0, arenaBytes: 2 ** 20 });
  for (let i = 0; i < 3; i++) expect(() => runtime.allocate(2 ** 20)).toThrow(MemoryExhaustedError);
  expect(runtime.memoryBytes).toBe(0);
});

test("values for more than the machine's memory are refused before any memory is made", async () => {
  const runtime = new Runtime({ threads: 0 });
  expect(() => Variable.zeros([1e12, 64], { runtime })).toThrow(MemoryExhaustedError);
  expect(runtime.memoryBytes).toBe(0);

  const table = Variable.ones([2, 2 ** 20], { runtime });
  const before = runtime.memoryBytes;
  await expect(table.resizeRows(2 ** 32 - 1)).rejects.toThrow(/: the machine has \d+\.$/);
  expect(runtime.memoryBytes).toBe(before);
  expect(table.shape).toEqual([2, 2 ** 20]);
});
