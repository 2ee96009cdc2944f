/**
 * The one table of GPU kernels. `webgpu/*.wgsl.ts` and the CUDA sources implement it; the executor launches by it.
 *
 * Arithmetic: each operation is rounded to the dtype by itself, in the order of the CPU's kernels
 * (packages/workers/native/*.inc), without fused multiply-add. Sums of squares are the exception: see `sumSquares`.
 */

/** Elements of a tile, and of one partial sum of squares: the NORM_BLOCK of the CPU. */
export const TILE = 4096;

/** How a gradient element is clipped; a and b are the first numbers of a clip slot. The numbers of the CPU kernels. */
export const clipKinds = {
  none: 0,
  /** g * a */
  scale: 1,
  /** (g * a) / b */
  norm: 2,
  /** below = a < g ? a : g; below < -a ? -a : below. A NaN stays a NaN. */
  value: 3,
} as const;

/** What a kernel does with the average of the weights. */
export const emaKinds = {
  none: 0,
  /** average = momentum * average + complement * variable */
  update: 1,
  /** the same, then variable = average */
  overwrite: 2,
} as const;

/**
 * A range of elements that one launch goes over, as 8 numbers of 32 bits; a launch takes a table of them, so that many
 * small variables share it. Ranges are ordered by `firstTile`; the range of a tile is the last one whose firstTile is
 * not above it. Offsets are in elements from the start of the binding.
 */
export const rangeFields = [
  /** Number of the range's first tile (of TILE elements; of one row in the rowwise kernel). */
  "firstTile",
  /** Elements of the range. */
  "count",
  "variable",
  "accumulator",
  "average",
  "gradient",
  /** Clip slot of the range. */
  "clip",
  /** Elements of a row; only the rowwise kernel reads it. */
  "rowSize",
] as const;
/** 32-bit words of one range in a kernel's table. */
export const RANGE_WORDS = rangeFields.length;

/**
 * The numbers by which a group of gradients is clipped: a, b, the group's norm, 0. Four of the dtype (float32 in WGSL).
 * What clips by value or by a scale that the host knows is written by the host.
 */
export const CLIP_SLOT_ELEMENTS = 4;

/** A norm group as 4 numbers of 32 bits: first partial sum, their count, clip slot, 0. */
export const NORM_GROUP_WORDS = 4;

/**
 * A part is a table that slices name, or a piece of one that lies in several buffers, as 8 numbers of 32 bits. The slices of
 * several tables are grouped together: each table has keys of its own, one for each row. Parts are in the order of their
 * keys; each table has slices. Offsets are in elements from the start of the binding, and whole vectors of 16 bytes.
 */
export const partFields = [
  /** Number of the table's first slice. */
  "firstSlice",
  /** Key of the table's row 0. */
  "firstKey",
  /** Key of the part's first row. */
  "start",
  /** Clip slot. */
  "clip",
  "variable",
  "accumulator",
  /** Of the table's slices. */
  "values",
  "average",
] as const;
/** 32-bit numbers of a part. */
export const PART_WORDS = partFields.length;

/**
 * `rowGroups` begins with a header for each part, as 8 numbers of 32 bits: the entry of the part's first group, the entry
 * after its last, one that is not read, and the part's numbers from `clip` on. Entries have ROW_GROUP_WORDS, so a header takes two of them.
 */
export const HEADER_WORDS = 8;

/**
 * An entry of `rowGroups` behind the headers: a row that slices name (counted from the part's first one), the first position
 * of its slices in `order`, the position after the last, and what its average has missed (a word as in `catchUp`, not read
 * where emaKind is none).
 */
export const ROW_GROUP_WORDS = 4;

/** Bits of a key that one pass of the sort looks at, at most. */
export const DIGIT_BITS = 8;
/** Numbers of slices of a tile, by digit. */
export const DIGITS = 1 << DIGIT_BITS;
/** Tiles that slices are cut into for sorting, at most; a tile is as long as that asks for. */
export const MOST_SORT_TILES = 256;

/** Bytes of a partial sum of squares: a float64, or in WGSL two float32, the higher part first. */
export const PARTIAL_BYTES = 8;

interface BufferParameter {
  readonly name: string;
  /**
   * Elements of the dtype, 32-bit numbers, partial sums, pairs of 32-bit numbers (a key and the number of its slice), or
   * 32-bit numbers that several workgroups add to.
   */
  readonly holds: "elements" | "words" | "partials" | "pairs" | "counters";
  readonly access: "read" | "write" | "readWrite";
}

interface ScalarParameter {
  readonly name: string;
  /** `element` is rounded to the dtype by the back end; `word` is an unsigned 32-bit number. */
  readonly type: "element" | "word";
}

/** What a kernel is given: its buffers and numbers, in the order of its parameters. */
export interface GpuKernel {
  readonly buffers: readonly BufferParameter[];
  readonly scalars: readonly ScalarParameter[];
  /** What `Command.count` counts. */
  readonly unit: string;
}

const elements = (name: string, access: BufferParameter["access"]) =>
  ({ name, holds: "elements", access }) as const;
const words = (name: string, access: BufferParameter["access"] = "read") =>
  ({ name, holds: "words", access }) as const;
const pairs = (name: string, access: BufferParameter["access"]) =>
  ({ name, holds: "pairs", access }) as const;
const partials = (access: BufferParameter["access"]) =>
  ({ name: "partials", holds: "partials", access }) as const;
const element = (name: string) => ({ name, type: "element" }) as const;
const word = (name: string) => ({ name, type: "word" }) as const;

const update = [element("learningRate"), element("epsilon"), word("clipKind")];
const ema = [element("momentum"), element("complement"), word("emaKind")];
const dense = [
  elements("variable", "readWrite"),
  elements("accumulator", "readWrite"),
  /** Any small buffer where emaKind is none: it is not touched. */
  elements("average", "readWrite"),
  elements("gradient", "read"),
  words("ranges"),
  elements("clips", "read"),
];
const rows = [
  elements("variable", "readWrite"),
  elements("accumulator", "readWrite"),
  elements("values", "read"),
  /** Numbers of slices, by row; slices of one row in list order. */
  words("order"),
  words("rowGroups"),
  elements("clips", "read"),
  /** Of a table whose averages are kept lazily. Any other buffer where emaKind is none: neither is touched. */
  elements("average", "readWrite"),
  elements("factors", "read"),
];
const counters = { name: "counters", holds: "counters", access: "readWrite" } as const;
const rowScalars = [...update, word("perRow"), word("rowSize"), ...ema, word("firstPart"), word("partCount")];

/** The kernels that every back end has, by name, with what each does. */
export const gpuKernels = {
  /**
   * partials[firstPartial + p] = the sum of squares of a tile's gradient elements, where p is the range's `variable` field
   * plus the number of the tile within its range: launches over several buffers leave their sums in the order of the
   * step's gradients. In float64 in the CPU's order
   * (eight running sums: workers/native/norms.inc) where the device has float64; in WGSL as double-single sums, whose
   * relative error is below 2^-40.
   */
  sumSquares: {
    buffers: [elements("gradient", "read"), words("ranges"), partials("write")],
    scalars: [word("rangeCount"), word("firstPartial")],
    unit: "tiles",
  },
  /**
   * For each group the clip slot, from its partial sums added in order (in WGSL in any fixed order):
   * norm = round(sqrt(round(sum))). For `norm` a = limit, b = max(norm, limit); for `scale`
   * a = limit * min(round(1 / norm), round(1 / limit)), rounded once, NaN where the norm is not finite; b = 0.
   * (In the CPU: `clipScalars` of workers/src/execute/lane-runner.ts. max and min are JavaScript's: NaN wins.)
   */
  clipScalars: {
    buffers: [partials("read"), words("groups"), elements("clips", "write")],
    scalars: [element("limit"), word("clipKind")],
    unit: "groups",
  },
  /** Clip, accumulate, update, average and overwrite in one pass. */
  adagradDense: { buffers: dense, scalars: [...update, ...ema, word("rangeCount")], unit: "tiles" },
  /**
   * The same with one accumulator element a row, which takes the mean of the row's squares. A tile is one row. The rows
   * of one launch are all of at most 32 elements, or all longer.
   */
  rowwiseDense: { buffers: dense, scalars: [...update, ...ema, word("rangeCount")], unit: "rows" },
  /**
   * Rows by the slices that name them: the groups of some parts that follow each other. How many there are only the device
   * knows; at most the command's count. `perRow` 1 sums the slices of a row before squaring. A sum starts from +0. With an
   * emaKind the averages are kept lazily: what a row has missed (see `catchUp`) comes before its update, its average after it.
   */
  adagradRows: { buffers: rows, scalars: rowScalars, unit: "row groups" },
  /** The same with one accumulator element a row. */
  rowwiseRows: { buffers: rows, scalars: rowScalars, unit: "row groups" },
  /**
   * Grouping slices by row is a stable sort by key, least significant digit first, a launch for each digit; then groups are
   * made of what is sorted. A tile is `tileLength` slices, in every launch the same, at most MOST_SORT_TILES of them.
   *
   * `countDigits`: counters[tile * DIGITS + d] = the tile's slices whose key has the lowest digit d; the same numbers of the
   * later passes, behind them, become 0. `rows` has the row numbers of all tables, one after another.
   */
  countDigits: {
    buffers: [words("rows"), words("parts"), counters],
    scalars: [
      word("slices"),
      word("partCount"),
      word("tileLength"),
      word("digitBits"),
      /** Passes of the sort. */
      word("passes"),
    ],
    unit: "tiles",
  },
  /**
   * One pass: keys with the numbers of their slices (within their table) to where their digit belongs, and counts the next
   * digit there. Pass 0 takes them from `rows` and does not read `from`.
   */
  sortPass: {
    buffers: [words("rows"), words("parts"), pairs("from", "read"), counters, pairs("to", "write")],
    scalars: [
      word("slices"),
      word("partCount"),
      word("tileLength"),
      word("digitBits"),
      word("pass"),
      /** 1: there is another one. */
      word("next"),
    ],
    unit: "tiles",
  },
  /** counters[tile] = keys of the tile that are not the one before. */
  countRows: {
    buffers: [pairs("sorted", "read"), counters],
    scalars: [word("slices"), word("tileLength")],
    unit: "tiles",
  },
  /**
   * `order` and `rowGroups` as the rows kernels take them. `lazy` 1: the groups' words come from `behind`, one for each
   * slice in the order of `rows`.
   */
  writeGroups: {
    buffers: [
      pairs("sorted", "read"),
      words("parts"),
      words("behind"),
      counters,
      words("order", "write"),
      words("rowGroups", "write"),
    ],
    scalars: [word("slices"), word("partCount"), word("tileLength"), word("lazy")],
    unit: "tiles",
  },
  /** All of that at once, by one workgroup. One unit. */
  groupSlices: {
    buffers: [
      words("rows"),
      words("parts"),
      words("behind"),
      pairs("even", "readWrite"),
      pairs("odd", "readWrite"),
      words("order", "write"),
      words("rowGroups", "write"),
    ],
    scalars: [word("slices"), word("partCount"), word("digitBits"), word("passes"), word("lazy")],
    unit: "launches",
  },
  /** Averages of tables. Ranges as in `adagradDense`; accumulator, gradient and clip are not read. */
  ema: {
    buffers: [elements("variable", "readWrite"), elements("average", "readWrite"), words("ranges")],
    scalars: [...ema, word("rangeCount")],
    unit: "tiles",
  },
  /**
   * Averages that rows have missed. The word of a row in `behind` is the number of its factors, 0 where it has missed
   * nothing, plus 2^31 where an overwrite is due:
   * average = factors[2 * number] * average + factors[2 * number + 1] * variable, then with an overwrite variable = average.
   */
  catchUp: {
    buffers: [
      elements("variable", "readWrite"),
      elements("average", "readWrite"),
      words("behind"),
      elements("factors", "read"),
    ],
    scalars: [word("rowSize"), word("variableOffset"), word("averageOffset")],
    unit: "rows",
  },
  /** target[i, :] = source[rows[i], :], from element offset `sourceOffset`. */
  gather: {
    buffers: [elements("source", "read"), words("rows"), elements("target", "write")],
    scalars: [word("rowSize"), word("sourceOffset")],
    unit: "rows",
  },
  /** target[offset + i] = value for i below count. */
  fill: {
    buffers: [elements("target", "write")],
    scalars: [element("value"), word("offset"), word("elements")],
    unit: "tiles",
  },
  copy: {
    buffers: [elements("source", "read"), elements("target", "write")],
    scalars: [word("sourceOffset"), word("targetOffset"), word("elements")],
    unit: "tiles",
  },
} as const satisfies Record<string, GpuKernel>;

/** The name of a kernel. */
export type GpuKernelName = keyof typeof gpuKernels;

/** Whether a kernel works on elements, so that there is one for each dtype; those on words alone are the same for all. */
export function hasElements(kernel: GpuKernelName): boolean {
  const { buffers, scalars }: GpuKernel = gpuKernels[kernel];
  return buffers.some(({ holds }) => holds === "elements") || scalars.some(({ type }) => type === "element");
}
