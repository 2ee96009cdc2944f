import * as core from "@shardgrad/core";
import { describe, expect, it } from "vitest";

const { ArgumentError, ShardgradError, UpdateStepError, WorkerLostError } = core;

const argumentErrors = [
  [core.ArgumentError, "ArgumentError", "ERR_SHARDGRAD_ARGUMENT"],
  [core.ShapeError, "ShapeError", "ERR_SHARDGRAD_SHAPE"],
  [core.DtypeError, "DtypeError", "ERR_SHARDGRAD_DTYPE"],
  [core.IndexError, "IndexError", "ERR_SHARDGRAD_INDEX"],
  [core.OptionError, "OptionError", "ERR_SHARDGRAD_OPTION"],
  [core.UnknownVariableError, "UnknownVariableError", "ERR_SHARDGRAD_UNKNOWN_VARIABLE"],
  [core.DuplicateVariableError, "DuplicateVariableError", "ERR_SHARDGRAD_DUPLICATE_VARIABLE"],
  [core.DisposedVariableError, "DisposedVariableError", "ERR_SHARDGRAD_DISPOSED_VARIABLE"],
  [core.NoGradientsError, "NoGradientsError", "ERR_SHARDGRAD_NO_GRADIENTS"],
] as const;

const plainErrors = [
  [core.StateError, "StateError", "ERR_SHARDGRAD_STATE"],
  [core.SplitVariableError, "SplitVariableError", "ERR_SHARDGRAD_SPLIT_VARIABLE"],
  [core.ClosedRuntimeError, "ClosedRuntimeError", "ERR_SHARDGRAD_CLOSED_RUNTIME"],
  [core.QueueFullError, "QueueFullError", "ERR_SHARDGRAD_QUEUE_FULL"],
] as const;

describe.each(argumentErrors)("%s", (Class, name, code) => {
  it("says what was given and what was expected", () => {
    const error = new Class({ argument: "x", received: Number.NaN, expected: "a finite number" });
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error).toBeInstanceOf(ShardgradError);
    expect(error).toMatchObject({
      name,
      code,
      argument: "x",
      received: Number.NaN,
      expected: "a finite number",
    });
    expect(error.message).toBe("`x`: expected a finite number, got NaN");
    expect(error.stack).toMatch(new RegExp(`^${name}: `));
    expect(Object.keys(error)).not.toContain("name");
    expect("cause" in error).toBe(false);
  });

  it("takes a message and a cause", () => {
    const error = new Class({ argument: "x", received: 1, expected: "2", message: "whole", cause: 3 });
    expect(error).toMatchObject({ message: "whole", cause: 3 });
  });
});

describe.each(plainErrors)("%s", (Class, name, code) => {
  it("takes a message and a cause", () => {
    const error = new Class("why", { cause: 3 });
    expect(error).toBeInstanceOf(ShardgradError);
    expect(error).not.toBeInstanceOf(ArgumentError);
    expect(error).toMatchObject({ name, code, message: "why", cause: 3 });
  });
});

describe("the value in a message", () => {
  const print = (received: unknown) =>
    new ArgumentError({ argument: "x", received, expected: "y" }).message.slice(
      "`x`: expected y, got ".length,
    );

  it.each([
    [new Float32Array(3), "Float32Array(3)"],
    [new DataView(new ArrayBuffer(4)), "DataView"],
    [-0, "-0"],
    [12n, "12n"],
    ["abc", '"abc"'],
    ["a".repeat(1000), `"${"a".repeat(40)}…"`],
    [undefined, "undefined"],
    [null, "null"],
    [true, "true"],
    [Symbol("s"), "Symbol(s)"],
    [[1, 2], "[1, 2]"],
    [[[1]], "Array(1)"],
    [new Array(1000).fill(0), "Array(1000)"],
    [{ a: 1 }, "Object"],
    [Object.create(null), "Object"],
    [new Map(), "Map"],
    [() => 1, "a function"],
    [Math.fround, "function fround"],
  ])("%o is short", (value, text) => {
    expect(print(value)).toBe(text);
  });

  it("is given even if reading the value throws", () => {
    const hostile = new Proxy(
      {},
      {
        get() {
          throw new Error("no");
        },
      },
    );
    expect(print(hostile)).toBe("Object");
  });
});

describe("damage", () => {
  const damage = [
    { variable: "w", state: "unknown", elements: [0, 4] },
    { variable: "b", state: "notApplied" },
    { variable: "e", state: "applied", rows: [1, 2] },
  ] as const;

  it("is on WorkerLostError, and in its message", () => {
    const error = new WorkerLostError({ damage });
    expect(error).toMatchObject({ name: "WorkerLostError", code: "ERR_SHARDGRAD_WORKER_LOST", damage });
    expect(error.message).toContain("w [0, 4) unknown; b not applied; e (2 rows) applied.");
  });

  it("is on UpdateStepError, beside the cause", () => {
    const cause = new Error("mine");
    const error = new UpdateStepError({ damage: [], cause });
    expect(error).toMatchObject({ name: "UpdateStepError", code: "ERR_SHARDGRAD_UPDATE_STEP", cause });
    expect(error.message).toContain("No variable was changed.");
  });

  it("of many variables is cut in the message", () => {
    const many = Array.from({ length: 9 }, (_, i) => ({ variable: `v${i}`, state: "applied" as const }));
    expect(new WorkerLostError({ damage: many }).message).toMatch(/v4 applied; and 4 more\.$/);
  });
});
