import { describe, expect, test } from "vitest";
import { runInChild as run } from "../support/child.js";

/** Processes and threads that end in the middle of something: they do end, nobody waits for them, and others go on. */

/** A busy machine may take its time; who hangs is killed. */
const runInChild = (source: string) => run(source, { timeout: 50_000 });

/** A runtime of two threads that are up, a large variable, a table with readers' words, and steps of both. */
const model = `
  const { Worker, parentPort, workerData } = await import("node:worker_threads");
  const { Adagrad, Runtime, Variable } = await import("@shardgrad/core");
  const made = async () => {
    const runtime = new Runtime({ threads: 2, inlineThreshold: 0, device: "cpu" });
    await runtime.ready();
    const weights = Variable.zeros([4_000_000], { runtime });
    const optimizer = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, globalClipnorm: 1e30, runtime });
    optimizer.build([weights]);
    const gradient = runtime.allocate(weights.size).fill(1);
    const step = () => optimizer.applyGradients([[gradient, weights]]);
    const stepNow = () => optimizer.applyGradientsSync([[gradient, weights]]);
    return { runtime, weights, optimizer, gradient, step, stepNow };
  };
`;

const ended = (output: string) => ({ code: 0, signal: null, output, errors: "" });

describe("a process ends by itself", () => {
  test.each([
    ["with threads that wait", "await step();", ""],
    [
      "with a step that nobody waits for, which is done first",
      "void step().then(() => console.log(weights.data[0]));",
      "-1\n",
    ],
    ["after synchronous steps", "stepNow(); stepNow(); console.log(optimizer.iterations);", "2\n"],
    [
      "with a step and the closing that waits for it",
      "void step(); runtime.close().then(() => console.log(weights.data[0]));",
      "-1\n",
    ],
    [
      "with steps of two runtimes",
      `
      const other = await made();
      const running = other.step();
      stepNow();
      await Promise.all([step(), running]);
      const last = step();
      other.stepNow();
      await Promise.all([last, other.step(), runtime.close()]);
      console.log(optimizer.iterations, other.optimizer.iterations);`,
      "3 3\n",
    ],
    ["by process.exit in mid-step", "void step(); setImmediate(() => process.exit(0));", ""],
    [
      "with a thread that was lost in mid-step",
      `
      const outcomes = await Promise.allSettled([step(), runtime.debugTerminateLane(1)]);
      await step();
      console.log(outcomes.length);`,
      "2\n",
    ],
    [
      "after its memory has grown in mid-step",
      `
      const running = step();
      const more = Array.from({ length: 10 }, () => Variable.ones([1_000_000], { runtime }));
      await running;
      const ones = more.map((variable) => [new Float32Array(1_000_000).fill(1), variable]);
      const second = new Adagrad({ learningRate: 1, initialAccumulatorValue: 0, epsilon: 0, runtime });
      await second.applyGradients(ones);
      console.log(weights.data[3_999_999], more.every(({ data }) => data[999_999] === 0));`,
      "-1 true\n",
    ],
  ])("%s", async (_, body, output) => {
    const destructured = "const { runtime, weights, optimizer, gradient, step, stepNow } = await made();";
    expect(await runInChild(`${model}${destructured}${body}`)).toEqual(ended(output));
  });

  test("also by an error that nobody catches in mid-step", async () => {
    const body = `const { step } = await made(); void step(); setImmediate(() => { throw new Error("mine"); });`;
    const { code, signal, errors } = await runInChild(model + body);
    expect([code, signal]).toEqual([1, null]);
    expect(errors).toContain("Error: mine");
  });
});

/** Code that makes a thread of the program's own with the model. */
function thread(work: string): string {
  return `new Worker(${JSON.stringify(`(async () => { ${model} ${work} })();`)}, { eval: true, workerData: globalThis.shared })`;
}

describe("a thread of the program's own", () => {
  test.each([
    ["synchronous steps", "for (;;) stepNow();"],
    ["asynchronous steps", "for (;;) await step();"],
  ])("is terminated amid its %s: it ends, and so does the process", async (_, work) => {
    const running = `const { step, stepNow } = await made(); stepNow(); parentPort.postMessage(0); ${work}`;
    const body = `
      const { once } = await import("node:events");
      for (let turn = 0; turn < 3; turn++) {
        const worker = ${thread(running)};
        await once(worker, "message");
        await new Promise((resolve) => setTimeout(resolve, 3 * turn));
        console.log(await worker.terminate());
      }
      const { step, weights } = await made();
      await step();
      console.log(weights.data[0]);`;
    expect(await runInChild(model + body)).toEqual(ended("1\n1\n1\n-1\n"));
  });

  test("leaves by process.exit amid a step", async () => {
    const body = `
      const { once } = await import("node:events");
      const worker = ${thread("const { step } = await made(); void step(); process.exit(5);")};
      console.log((await once(worker, "exit"))[0]);`;
    expect(await runInChild(model + body)).toEqual(ended("5\n"));
  });

  test("is terminated while it reads a variable: steps, resizes and the end are not held up", async () => {
    const reading = `
      const table = Variable.attach(workerData);
      const rows = Uint32Array.from({ length: 1000 }, (_, i) => i);
      for (let i = 0; ; i++) { table.gather(rows); if (i === 0) parentPort.postMessage(0); }`;
    const body = `
      const { once } = await import("node:events");
      const { runtime } = await made();
      const table = Variable.ones([1000, 16], { runtime });
      const optimizer = new Adagrad({ runtime });
      const indices = Uint32Array.from({ length: 1000 }, (_, i) => i);
      const step = () => optimizer.applyGradients([[{ indices, values: new Float32Array(16_000).fill(1) }, table]]);
      await step();
      globalThis.shared = table.handle();
      for (let turn = 0; turn < 3; turn++) {
        const worker = ${thread(reading)};
        await once(worker, "message");
        const [, code] = await Promise.all([step(), worker.terminate()]);
        console.log(code);
      }
      await table.resizeRows(2000);
      await step();
      table.dispose();
      await runtime.close();
      console.log(optimizer.iterations);`;
    expect(await runInChild(model + body)).toEqual(ended("1\n1\n1\n5\n"));
  });
});
