/** What the WordNet example writes and how its command line is read. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lineChart } from "../../examples/dist/wordnet/chart.js";
import { nearest } from "../../examples/dist/wordnet/neighbours.js";
import { decodeNpy, encodeNpy, loadNpy, saveNpy } from "../../examples/dist/wordnet/npy.js";
import { readCommandLine } from "../../examples/dist/wordnet/settings.js";

describe(".npy", () => {
  it("survives a round trip through a file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "shardgrad-"));
    try {
      const path = join(folder, "table.npy");
      const data = Float32Array.of(1, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e-45, 3.5);
      await saveNpy(path, { shape: [2, 3], data });
      expect(await loadNpy(path)).toEqual({ shape: [2, 3], data });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("has the header that NumPy writes", () => {
    const bytes = encodeNpy({ shape: [5], data: new Float32Array(5) });
    expect(bytes.toString("latin1", 1, 6)).toBe("NUMPY");
    expect(bytes.toString("latin1", 10, 128).trimEnd()).toBe(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }",
    );
    expect(bytes[127]).toBe(0x0a);
    expect(bytes).toHaveLength(128 + 20);
  });

  it("refuses a wrong shape, another format and a file cut short", () => {
    expect(() => encodeNpy({ shape: [2, 2], data: new Float32Array(3) })).toThrow("does not hold");
    expect(() => decodeNpy(Buffer.from("hello"))).toThrow("not an .npy file");
    const bytes = encodeNpy({ shape: [4], data: new Float32Array(4) });
    expect(() => decodeNpy(bytes.subarray(0, -1))).toThrow("not as long");
    const doubles = Buffer.from(bytes);
    doubles.write("'<f8'", doubles.indexOf("'<f4'"), "latin1");
    expect(() => decodeNpy(doubles)).toThrow("float32");
  });
});

it("finds nearest rows by direction, not by length", () => {
  const table = Float32Array.of(1, 0, 10, 1, 0, 1, -1, 0, 0.1, 0.1);
  expect(nearest(table, 2, 0, 2).map(({ entity }) => entity)).toEqual([1, 4]);
  expect(nearest(table, 2, 0, 9).map(({ entity }) => entity)).toEqual([1, 4, 2, 3]);
});

it("draws a chart without broken numbers, even of odd values", () => {
  const svg = lineChart("a < b", "x", "y", [
    {
      name: "one",
      points: [
        [1, 0.7],
        [2, 0.01],
        [3, Number.NaN],
        [4, 0],
      ],
    },
    { name: "none", points: [] },
  ]);
  expect(svg).toMatch(/^<svg[\s\S]*<\/svg>\n$/);
  expect(svg).toContain("a &lt; b");
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
});

describe("the command line", () => {
  it("has a short setting by default and a full one on demand", () => {
    expect(readCommandLine([])).toMatchObject({ setting: { name: "short" }, seed: 1 });
    const full = readCommandLine(["--full", "--threads", "3", "--seed", "9", "--output", "/tmp/x"]);
    expect(full).toMatchObject({ setting: { name: "full" }, threads: 3, seed: 9, output: "/tmp/x" });
  });

  it("refuses what it does not know", () => {
    expect(() => readCommandLine(["--fast"])).toThrow("--fast");
    expect(() => readCommandLine(["--threads", "two"])).toThrow("--threads");
    expect(() => readCommandLine(["--threads", "0"])).toThrow("--threads");
    expect(readCommandLine(["--help"])).toBeUndefined();
  });
});
