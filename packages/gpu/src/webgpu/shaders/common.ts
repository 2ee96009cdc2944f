import { type GpuKernelName, gpuKernels } from "../../kernels/table.js";

/** Lanes of a workgroup: what every WebGPU device has. */
export const LANES = 256;

export interface Shader {
  /** Elements are read and written by fours. */
  readonly byFours?: boolean;
  /** Lanes of a workgroup; LANES by default. */
  readonly lanes?: number;
  /** Units of work that one workgroup takes at a time; 1 by default. */
  readonly unitsPerGroup?: (scalars: readonly number[]) => number;
  readonly code: string;
}

/** The declarations of a kernel's buffers and scalars, from the table. `count` is the command's. */
export function declarations(name: GpuKernelName, byFours: boolean): string {
  const { buffers, scalars } = gpuKernels[name];
  const types = {
    elements: byFours ? "vec4f" : "f32",
    words: "u32",
    partials: "vec2f",
    pairs: "vec2u",
    counters: "atomic<u32>",
  };
  const lines = buffers.map(({ name: buffer, holds, access }, i) => {
    // The clip slots are read one number at a time.
    const type = buffer === "clips" ? "f32" : types[holds];
    const mode = access === "read" ? "read" : "read_write";
    return `@group(0) @binding(${i}) var<storage, ${mode}> ${shaderName(buffer)}: array<${type}>;`;
  });
  const fields = scalars.map(
    (scalar) => `${shaderName(scalar.name)}: ${scalar.type === "word" ? "u32" : "f32"},`,
  );
  return [
    ...lines,
    `struct Scalars { count: u32, ${fields.join(" ")} }`,
    `@group(0) @binding(${buffers.length}) var<uniform> scalars: Scalars;`,
  ].join("\n");
}

/** Words that WGSL keeps for itself. */
const kept = new Set(["target", "from", "pass"]);

function shaderName(name: string): string {
  return kept.has(name) ? `${name}_` : name;
}

/** The range of a tile: the last one whose first tile is not above it. */
export const rangeOf = /* wgsl */ `
fn rangeOf(tile: u32) -> u32 {
  var low = 0u;
  var high = scalars.rangeCount;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (ranges[middle * 8u] <= tile) { low = middle; } else { high = middle; }
  }
  return low * 8u;
}`;

/** \`clipped\` for a type, f32 or vec4f. */
export function clipping(type: "f32" | "vec4f"): string {
  return /* wgsl */ `
fn clipped(g: ${type}, a: f32, b: f32) -> ${type} {
  switch scalars.clipKind {
    case 1u: { return g * a; }
    case 2u: { return (g * a) / b; }
    case 3u: {
      let below = select(g, ${type}(a), ${type}(a) < g);
      return select(below, ${type}(-a), below < ${type}(-a));
    }
    default: { return g; }
  }
}`;
}

/**
 * Of a table whose averages are kept lazily, value and average of an element: `caughtUp` with what its row has missed, by
 * the row's word; `storeUpdated` of the rows kernels adds the average of the running step.
 */
export const lazyAverages = /* wgsl */ `
struct Averaged { value: f32, mean: f32 }

fn caughtUp(before: Averaged, word: u32) -> Averaged {
  let number = word & 0x7fffffffu;
  if (number == 0u) { return before; }
  let mean = factors[2u * number] * before.mean + factors[2u * number + 1u] * before.value;
  return Averaged(select(before.value, mean, word > 0x7fffffffu), mean);
}`;

/** For the rows kernels: an element at `at` of variable and average before its update, and what is stored after it. */
export const lazyRows = /* wgsl */ `
${lazyAverages}

fn beforeUpdate(variableAt: u32, averageAt: u32, word: u32) -> Averaged {
  let value = variable[variableAt];
  if (scalars.emaKind == 0u) { return Averaged(value, 0.0); }
  return caughtUp(Averaged(value, average[averageAt]), word);
}

fn storeUpdated(variableAt: u32, averageAt: u32, value: f32, before: f32) {
  var next = value;
  if (scalars.emaKind != 0u) {
    let mean = scalars.momentum * before + scalars.complement * value;
    average[averageAt] = mean;
    if (scalars.emaKind == 2u) { next = mean; }
  }
  variable[variableAt] = next;
}`;

/**
 * For the rows kernels: the rows that are named, whose number only the device knows, by the headers of the launch's parts.
 * `accumulatorAt` is that of the row's first accumulator element where a row has so many of them.
 */
export const namedRows = /* wgsl */ `
struct NamedRow {
  first: u32, end: u32, word: u32,
  variableAt: u32, accumulatorAt: u32, valuesAt: u32, averageAt: u32,
  a: f32, b: f32,
}

fn firstEntry() -> u32 { return rowGroups[scalars.firstPart * 8u]; }

fn rowCount() -> u32 {
  return rowGroups[(scalars.firstPart + scalars.partCount) * 8u - 7u] - firstEntry();
}

fn namedRow(index: u32, accumulators: u32) -> NamedRow {
  let entry = firstEntry() + index;
  // The last part that does not begin after it; one without groups begins where the next one does.
  var low = 0u;
  var high = scalars.partCount;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (rowGroups[(scalars.firstPart + middle) * 8u] <= entry) { low = middle; } else { high = middle; }
  }
  let header = (scalars.firstPart + low) * 8u;
  let at = entry * 4u;
  let row = rowGroups[at];
  let slot = rowGroups[header + 3u] * 4u;
  return NamedRow(
    rowGroups[at + 1u],
    rowGroups[at + 2u],
    rowGroups[at + 3u],
    rowGroups[header + 4u] + row * scalars.rowSize,
    rowGroups[header + 5u] + row * accumulators,
    rowGroups[header + 6u],
    rowGroups[header + 7u] + row * scalars.rowSize,
    clips[slot],
    clips[slot + 1u],
  );
}`;

/**
 * Double-single arithmetic: a number is the unevaluated sum of two float32, the higher part first; about 48 bits.
 * Products are split after Dekker, whose parts are exact, so that contraction to fused multiply-add changes nothing.
 * Drivers may simplify float arithmetic as if it were exact (Mesa's do, Metal's may: t - (t - x) becomes x), but not
 * across integers: `kept` is a number that the compiler cannot look through.
 */
export const doubleSingle = /* wgsl */ `
fn isFinite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

/** The number itself: no command has 2^31 units, but the compiler does not know. */
fn kept(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ (scalars.count >> 31u));
}

/** The upper 12 bits of a number. */
fn topOf(x: f32) -> f32 {
  let t = kept(4097.0 * x);
  return kept(t - kept(t - x));
}

/** What the product \`high\` of two numbers lacks. */
fn restOf(x: f32, y: f32, high: f32) -> f32 {
  let xTop = topOf(x);
  let xRest = kept(x - xTop);
  let yTop = topOf(y);
  let yRest = kept(y - yTop);
  let cross = kept(xTop * yRest + xRest * yTop);
  return kept(kept(xTop * yTop - high) + cross) + xRest * yRest;
}

/** The exact square. */
fn square(x: f32) -> vec2f {
  let high = kept(x * x);
  let low = restOf(x, x, high);
  return vec2f(high, select(0.0, low, isFinite(high) && isFinite(4097.0 * x)));
}

fn sumOf(x: vec2f, y: vec2f) -> vec2f {
  let s = kept(x.x + y.x);
  let part = kept(s - x.x);
  let error = kept(x.x - kept(s - part)) + kept(y.x - part);
  let low = kept(kept(error) + kept(x.y + y.y));
  let high = kept(s + low);
  // An infinity or NaN stays what it is: its error term would be NaN.
  let finite = isFinite(s);
  return vec2f(select(s, high, finite), select(0.0, low - kept(high - s), finite));
}`;

/** Sum over the workgroup of double-single numbers, in a fixed order; the same for every lane. */
export function workgroupSum(lanes: number): string {
  return /* wgsl */ `
var<workgroup> sums: array<vec2f, ${lanes}>;

fn workgroupSum(mine: vec2f, lane: u32) -> vec2f {
  sums[lane] = mine;
  workgroupBarrier();
  for (var reach = ${lanes / 2}u; reach > 0u; reach /= 2u) {
    if (lane < reach) { sums[lane] = sumOf(sums[lane], sums[lane + reach]); }
    workgroupBarrier();
  }
  let total = workgroupUniformLoad(&sums[0]);
  return total;
}`;
}
