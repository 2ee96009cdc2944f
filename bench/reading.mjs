import { Adagrad, Runtime, Variable } from "@shardgrad/core";

// What reading rows costs: `node bench/reading.mjs`. Nanoseconds a row, the median and the best of several runs.

const runtime = new Runtime({ threads: 0 });
const ROWS_READ = 20_000;
const RUNS = 60;

function time(work) {
  const times = Array.from({ length: RUNS }, () => {
    const start = performance.now();
    work();
    return ((performance.now() - start) * 1e6) / ROWS_READ;
  }).sort((a, b) => a - b);
  return `${times[RUNS >> 1].toFixed(1)} / ${times[0].toFixed(1)}`;
}

function plainLoop(data, indices, out, dim) {
  for (let i = 0; i < indices.length; i++) {
    const from = indices[i] * dim;
    for (let j = 0; j < dim; j++) out[i * dim + j] = data[from + j];
  }
}

const lines = [];
for (const [rows, dtype] of [
  [10_000, "float32"],
  [1_000_000, "float32"],
  [1_000_000, "float16"],
]) {
  for (const dim of [1, 16, 64, 128]) {
    const table = Variable.ones([rows, dim], { runtime, dtype });
    const indices = Uint32Array.from({ length: ROWS_READ }, () => Math.random() * rows);
    const Class = dtype === "float16" ? Uint16Array : Float32Array;
    const out = new Class(ROWS_READ * dim);
    const attached = Variable.attach(table.handle());
    const single = Uint32Array.of(0);
    const line = {
      table: `${rows.toLocaleString("en")} × ${dim} ${dtype}`,
      gather: time(() => table.gather(indices, out)),
      attached: time(() => attached.gather(indices, out)),
      "one row a call": time(() => {
        for (const row of indices) {
          single[0] = row;
          table.gather(single, out.subarray(0, dim));
        }
      }),
      "plain loop, torn rows": time(() => plainLoop(table.data, indices, out, dim)),
    };
    lines.push(line);
    table.dispose();
  }
}
console.table(lines);

// Averages that are kept lazily, every row behind.
const lazy = [];
for (const dim of [16, 64]) {
  const table = Variable.ones([100_000, dim], { runtime });
  const optimizer = new Adagrad({ runtime, useEma: true, sparseEma: "lazy", emaOverwriteFrequency: 3 });
  const step = () =>
    optimizer.applyGradientsSync([[{ indices: [0], values: new Float32Array(dim).fill(1) }, table]]);
  for (let i = 0; i < 10; i++) step();
  const indices = Uint32Array.from({ length: ROWS_READ }, () => 1 + Math.random() * 99_999);
  const out = new Float32Array(ROWS_READ * dim);
  lazy.push({
    table: `100,000 × ${dim}, overwrites due`,
    variable: time(() => table.gather(indices, out)),
    average: time(() => optimizer.averages[0].gather(indices, out)),
  });
}
console.table(lazy);
await runtime.close();
