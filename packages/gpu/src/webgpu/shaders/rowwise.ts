import { clipping, doubleSingle, rangeOf, type Shader, workgroupSum } from "./common.js";

/** Lanes that share a row. */
const LANES = 64;

/** round(sum / count) of a double-single sum. */
const meanOf = /* wgsl */ `
fn meanOf(sum: vec2f, count: u32) -> f32 {
  let divisor = f32(count);
  let quotient = sum.x / divisor;
  if (!isFinite(quotient)) { return quotient; }
  // What is left of the dividend: a product of two float32, split, taken from the sum.
  let t = 4097.0 * quotient;
  let top = t - (t - quotient);
  let rest = quotient - top;
  let d = 4097.0 * divisor;
  let divisorTop = d - (d - divisor);
  let divisorRest = divisor - divisorTop;
  let product = quotient * divisor;
  let low = ((top * divisorTop - product) + (top * divisorRest + rest * divisorTop)) + rest * divisorRest;
  return quotient + (((sum.x - product) - low) + sum.y) / divisor;
}`;

/** Dense rows: one workgroup a row. */
export const rowwiseDense: Shader = {
  lanes: LANES,
  code: /* wgsl */ `
${rangeOf}
${clipping("f32")}
${doubleSingle}
${workgroupSum(LANES)}
${meanOf}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var tile = group.x; tile < scalars.count; tile += groups.x) {
    let range = rangeOf(tile);
    let row = tile - ranges[range];
    let rowSize = ranges[range + 7u];
    let variableAt = ranges[range + 2u] + row * rowSize;
    let accumulatorAt = ranges[range + 3u] + row;
    let averageAt = ranges[range + 4u] + row * rowSize;
    let gradientAt = ranges[range + 5u] + row * rowSize;
    let slot = ranges[range + 6u] * 4u;
    let a = clips[slot];
    let b = clips[slot + 1u];
    var squares = vec2f(0.0, 0.0);
    for (var i = lane; i < rowSize; i += ${LANES}u) {
      squares = sumOf(squares, square(clipped(gradient[gradientAt + i], a, b)));
    }
    let sum = accumulator[accumulatorAt] + meanOf(workgroupSum(squares, lane), rowSize);
    storageBarrier();
    if (lane == 0u) { accumulator[accumulatorAt] = sum; }
    let root = sqrt(sum + scalars.epsilon);
    for (var i = lane; i < rowSize; i += ${LANES}u) {
      let g = clipped(gradient[gradientAt + i], a, b);
      var next = variable[variableAt + i] - (scalars.learningRate * g) / root;
      if (scalars.emaKind != 0u) {
        let mean = scalars.momentum * average[averageAt + i] + scalars.complement * next;
        average[averageAt + i] = mean;
        if (scalars.emaKind == 2u) { next = mean; }
      }
      variable[variableAt + i] = next;
    }
  }
}`,
};

/** Rows by slices: one workgroup a row. */
export const rowwiseRows: Shader = {
  lanes: LANES,
  code: /* wgsl */ `
${clipping("f32")}
${doubleSingle}
${workgroupSum(LANES)}
${meanOf}

/** A column of the sum of the clipped slices [first, end), in list order from +0. */
fn summed(first: u32, end: u32, column: u32) -> f32 {
  let a = clips[scalars.clip * 4u];
  let b = clips[scalars.clip * 4u + 1u];
  var g = 0.0;
  for (var i = first; i < end; i++) {
    g = g + clipped(values[scalars.valuesOffset + order[i] * scalars.rowSize + column], a, b);
  }
  return g;
}

fn meanSquare(first: u32, end: u32, lane: u32) -> f32 {
  var squares = vec2f(0.0, 0.0);
  for (var column = lane; column < scalars.rowSize; column += ${LANES}u) {
    squares = sumOf(squares, square(summed(first, end, column)));
  }
  return meanOf(workgroupSum(squares, lane), scalars.rowSize);
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var index = group.x; index < scalars.count; index += groups.x) {
    let row = rowGroups[index * 4u];
    let first = rowGroups[index * 4u + 1u];
    let end = rowGroups[index * 4u + 2u];
    var sum = accumulator[scalars.accumulatorOffset + row];
    if (scalars.perRow == 0u) {
      for (var i = first; i < end; i++) { sum = sum + meanSquare(i, i + 1u, lane); }
    } else {
      sum = sum + meanSquare(first, end, lane);
    }
    storageBarrier();
    if (lane == 0u) { accumulator[scalars.accumulatorOffset + row] = sum; }
    let root = sqrt(sum + scalars.epsilon);
    let at = scalars.variableOffset + row * scalars.rowSize;
    for (var column = lane; column < scalars.rowSize; column += ${LANES}u) {
      variable[at + column] = variable[at + column] - (scalars.learningRate * summed(first, end, column)) / root;
    }
  }
}`,
};
