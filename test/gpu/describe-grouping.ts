// Grouping slices by row on a device, against a plain loop: the order of slices, the rows that are named, and where the
// groups of each table and piece begin and end.
import {
  type Binding,
  type GpuBackend,
  type GroupedTable,
  groupCommands,
  HEADER_WORDS,
  MOST_SORT_TILES,
  ONE_LAUNCH,
  PART_WORDS,
  partWords,
  ROW_GROUP_WORDS,
  sortBytes,
  sortShape,
} from "@shardgrad/gpu";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seeded } from "../kernels/data.js";
import { DeviceArrays } from "./device-arrays.js";

/** A table's row numbers, and where its pieces begin. */
interface Table {
  readonly rows: number;
  readonly indices: Uint32Array;
  readonly starts?: readonly number[];
}

const uniform = (count: number, rows: number, seed = count): Table => {
  const random = seeded(seed);
  return { rows, indices: Uint32Array.from({ length: count }, () => Math.floor(random() * rows)) };
};

/** Rows by Zipf's law. */
const zipf = (count: number, rows: number): Table => {
  const random = seeded(count);
  return { rows, indices: Uint32Array.from({ length: count }, () => Math.floor(rows ** random()) - 1) };
};

/** What the rows kernels are told of a part, as its number says. */
const placeOf = (part: number): number[] => [part % 3, 100 + part, 200 + part, 300 + part, 400 + part];

/** What the rows kernels are to read, by sorting on the host. */
function expected(tables: readonly Table[], behind: Uint32Array | undefined) {
  const order: number[] = [];
  const entries: number[][] = [];
  const headers: number[][] = [];
  const headerEntries = HEADER_WORDS / ROW_GROUP_WORDS;
  let first = 0;
  for (const { indices, rows, starts = [0] } of tables) {
    const slices = [...indices.keys()].sort((a, b) => indices[a]! - indices[b]! || a - b);
    starts.forEach((start, piece) => {
      const end = starts[piece + 1] ?? rows;
      const begin = entries.length;
      for (const slice of slices) {
        const row = indices[slice]!;
        if (row < start || row >= end) continue;
        if (entries.length === begin || entries.at(-1)![0] !== row - start)
          entries.push([row - start, order.length, 0, behind?.[first + slice] ?? 0]);
        order.push(slice);
        entries.at(-1)![2] = order.length;
      }
      headers.push([begin, entries.length, ...placeOf(headers.length)]);
    });
    first += indices.length;
  }
  const before = headerEntries * headers.length;
  return {
    order,
    entries,
    headers: headers.map(([begin, end, ...place]) => [begin! + before, end! + before, ...place]),
  };
}

/** @param most - slices of one sort at most, for back ends that take long */
export function describeGrouping(
  name: string,
  open: () => Promise<GpuBackend>,
  most = Number.POSITIVE_INFINITY,
) {
  describe(name, () => {
    let backend: GpuBackend;
    let arrays: DeviceArrays;
    beforeAll(async () => {
      backend = await open();
      arrays = new DeviceArrays(backend);
    });
    afterAll(() => backend.close());

    async function words({ buffer }: Binding, count: number): Promise<number[]> {
      const target = new Uint32Array(count);
      await backend.download(buffer, 0, target);
      return [...target];
    }

    async function group(tables: readonly Table[], lazy = false) {
      let part = 0;
      const grouped = tables.map(
        ({ rows, indices, starts = [0] }): GroupedTable => ({
          rows,
          slices: indices.length,
          parts: starts.map((start) => {
            const [clip, variable, accumulator, values, average] = placeOf(part++);
            return { start, clip, variable, accumulator, values, average } as GroupedTable["parts"][number];
          }),
        }),
      );
      const rows = Uint32Array.from(tables.flatMap(({ indices }) => [...indices]));
      const keys = tables.reduce((sum, table) => sum + table.rows, 0);
      const parts = partWords(grouped);
      const shape = sortShape(rows.length, keys, parts.length / PART_WORDS);
      const behind = lazy ? rows.map((row, slice) => (row % 3) * 2 ** 31 + slice) : undefined;
      const bytes = sortBytes(shape);
      const made = {
        rows: arrays.words(rows),
        parts: arrays.words(parts),
        order: arrays.room(bytes.order),
        rowGroups: arrays.room(bytes.rowGroups),
        even: arrays.room(bytes.even),
        odd: arrays.room(bytes.odd),
        counters: arrays.room(bytes.counters),
      };
      const words32 = behind === undefined ? undefined : arrays.words(behind);
      // Twice: what the first sort leaves behind must not count.
      const commands = groupCommands(shape, { ...made, behind: words32 });
      backend.launch(commands);
      backend.launch(commands);
      const { order, entries, headers } = expected(tables, behind);
      const first = shape.parts * HEADER_WORDS;
      const read = await words(made.rowGroups, first + entries.length * ROW_GROUP_WORDS);
      const header = (i: number) => read.slice(i * HEADER_WORDS, (i + 1) * HEADER_WORDS);
      // The third word is nobody's.
      expect(headers.map((_, i) => header(i).toSpliced(2, 1))).toEqual(headers);
      const entry = (i: number) => read.slice(first + i * ROW_GROUP_WORDS, first + (i + 1) * ROW_GROUP_WORDS);
      expect(entries.map((_, i) => entry(i))).toEqual(entries);
      expect(await words(made.order, rows.length)).toEqual(order);
      arrays.free(...Object.values(made), ...(words32 === undefined ? [] : [words32]));
      return { shape, launches: commands.length };
    }

    const borders = [1, 2, 255, 256, 257, 1023, 1024, 1025, ONE_LAUNCH - 1, ONE_LAUNCH, ONE_LAUNCH + 1, 4097];
    test.each(borders)("%i slices of many rows, of few and of one", async (count) => {
      const { launches } = await group([uniform(count, 1_000_000)]);
      expect(launches).toBe(count <= ONE_LAUNCH ? 1 : 3 + 3);
      await group([uniform(count, 300)]);
      await group([{ rows: 1, indices: new Uint32Array(count) }]);
    });

    const [many, some] = [Math.min(70_001, most), Math.min(20_001, most)];
    test.each<[string, () => Table]>([
      ["of a Zipf law", () => zipf(many, 10_000_000)],
      ["all the same", () => ({ rows: 65_537, indices: new Uint32Array(many).fill(65_536) })],
      ["all different", () => ({ rows: 1 << 24, indices: uniqueRows(some, 1 << 24) })],
      ["in order", () => ({ rows: some, indices: Uint32Array.from({ length: some }, (_, i) => i) })],
      [
        "in reverse",
        () => ({ rows: some, indices: Uint32Array.from({ length: some }, (_, i) => some - 1 - i) }),
      ],
    ])("many rows %s", async (_, make) => {
      await group([make()]);
    });

    test("the largest row numbers, of keys with 32 bits and with 31", async () => {
      for (const rows of [2 ** 32, 2 ** 31, 2 ** 31 + 1]) {
        const edges = [0, rows - 1, 1, rows - 1, rows - 2, 255, 256, 65_536, 2 ** 24, 2 ** 24 - 1, rows - 1];
        for (const count of [edges.length, Math.min(3000, most)]) {
          const indices = Uint32Array.from({ length: count }, (_, i) => edges[(i * 7) % edges.length]!);
          await group([{ rows, indices }]);
        }
      }
    });

    test("several tables, some in pieces of which slices name all, some or none", async () => {
      const few = [
        { ...uniform(7, 40), starts: [0, 16, 32] },
        { rows: 5, indices: Uint32Array.of(4, 4, 4), starts: [0, 2, 4] },
        { rows: 1, indices: Uint32Array.of(0) },
        { rows: 9, indices: Uint32Array.of(3, 0, 3), starts: [0, 1, 2, 3, 4, 5, 8] },
        { rows: 100, indices: Uint32Array.of(50, 20), starts: [0, 10, 20, 30, 60, 99] },
      ];
      await group(few);
      expect((await group(few, true)).launches).toBe(1);
      const larger = [...few, { ...zipf(2500, 1000), starts: [0, 3, 500, 900] }, uniform(4000, 70_000)];
      await group(larger);
      const { launches, shape } = await group(larger, true);
      expect(launches).toBe(3 + shape.passes);
    });

    test("hundreds of tables with few slices each take as many launches as one", async () => {
      const tables = Array.from({ length: 300 }, (_, i) =>
        uniform(1 + (i % 11), 1 + ((i * 37) % 500), i + 1),
      );
      expect((await group(tables)).launches).toBe(1);
      const more = tables.map(({ rows }, i) => uniform(13, rows, i + 1));
      const { launches, shape } = await group(more, true);
      expect(launches).toBe(3 + shape.passes);
    });

    const longTiles = MOST_SORT_TILES * 1024 + 5;
    if (longTiles <= most) {
      test("more slices than tiles of the usual length have", async () => {
        const { shape } = await group([zipf(longTiles, 100_000)]);
        expect(shape).toMatchObject({ tileLength: 2048, tiles: 129 });
      });
    }
  });
}

/** Different rows in any order: multiples of an odd number. */
function uniqueRows(count: number, rows: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 0) % rows);
}
