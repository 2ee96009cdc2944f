import { clipping, doubleSingle, lazyRows, namedRows, rangeOf, type Shader, workgroupSum } from "./common.js";

/** Lanes that share a row. */
const LANES = 64;
/** Rows of up to so many elements are one lane's work. */
const SHORT_ROW = 32;

/** round(sum / count) of a double-single sum. */
const meanOf = /* wgsl */ `
fn meanOf(sum: vec2f, count: u32) -> f32 {
  let divisor = f32(count);
  let quotient = kept(sum.x / divisor);
  if (!isFinite(quotient)) { return quotient; }
  // What is left of the dividend.
  let product = kept(quotient * divisor);
  let rest = kept(kept(sum.x - product) - restOf(quotient, divisor, product));
  return quotient + kept(rest + sum.y) / divisor;
}`;

/** Dense rows: one lane a row where all are short (the executor keeps the two apart), one workgroup a row else. */
export const rowwiseDense: Shader = {
  lanes: LANES,
  code: /* wgsl */ `
${rangeOf}
${clipping("f32")}
${doubleSingle}
${workgroupSum(LANES)}
${meanOf}

struct Row { size: u32, variable: u32, accumulator: u32, average: u32, gradient: u32, a: f32, b: f32 }

fn rowOf(range: u32, tile: u32) -> Row {
  let row = tile - ranges[range];
  let rowSize = ranges[range + 7u];
  let slot = ranges[range + 6u] * 4u;
  return Row(
    rowSize,
    ranges[range + 2u] + row * rowSize,
    ranges[range + 3u] + row,
    ranges[range + 4u] + row * rowSize,
    ranges[range + 5u] + row * rowSize,
    clips[slot],
    clips[slot + 1u],
  );
}

fn squareAt(row: Row, i: u32) -> vec2f {
  return square(clipped(gradient[row.gradient + i], row.a, row.b));
}

fn updateAt(row: Row, i: u32, root: f32) {
  let g = clipped(gradient[row.gradient + i], row.a, row.b);
  var next = variable[row.variable + i] - (scalars.learningRate * g) / root;
  if (scalars.emaKind != 0u) {
    let mean = scalars.momentum * average[row.average + i] + scalars.complement * next;
    average[row.average + i] = mean;
    if (scalars.emaKind == 2u) { next = mean; }
  }
  variable[row.variable + i] = next;
}

fn shortRow(row: Row) {
  var squares = vec2f(0.0, 0.0);
  for (var i = 0u; i < row.size; i++) { squares = sumOf(squares, squareAt(row, i)); }
  let sum = accumulator[row.accumulator] + meanOf(squares, row.size);
  accumulator[row.accumulator] = sum;
  let root = sqrt(sum + scalars.epsilon);
  for (var i = 0u; i < row.size; i++) { updateAt(row, i, root); }
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  if (ranges[7] <= ${SHORT_ROW}u) {
    for (var tile = group.x * ${LANES}u + lane; tile < scalars.count; tile += groups.x * ${LANES}u) {
      shortRow(rowOf(rangeOf(tile), tile));
    }
    return;
  }
  for (var tile = group.x; tile < scalars.count; tile += groups.x) {
    let row = rowOf(rangeOf(tile), tile);
    var squares = vec2f(0.0, 0.0);
    for (var i = lane; i < row.size; i += ${LANES}u) { squares = sumOf(squares, squareAt(row, i)); }
    let sum = accumulator[row.accumulator] + meanOf(workgroupSum(squares, lane), row.size);
    storageBarrier();
    if (lane == 0u) { accumulator[row.accumulator] = sum; }
    let root = sqrt(sum + scalars.epsilon);
    for (var i = lane; i < row.size; i += ${LANES}u) { updateAt(row, i, root); }
  }
}`,
};

/** Rows by slices: one lane a row where rows are short, one workgroup a row else. */
export const rowwiseRows: Shader = {
  lanes: LANES,
  unitsPerGroup: (scalars) => (scalars[ROW_SIZE]! <= SHORT_ROW ? LANES : 1),
  code: /* wgsl */ `
${clipping("f32")}
${doubleSingle}
${workgroupSum(LANES)}
${meanOf}
${lazyRows}
${namedRows}

/** An element of a row after its accumulator. */
fn updateAt(row: NamedRow, column: u32, g: f32, root: f32) {
  let variableAt = row.variableAt + column;
  let averageAt = row.averageAt + column;
  let old = beforeUpdate(variableAt, averageAt, row.word);
  let next = old.value - (scalars.learningRate * g) / root;
  storeUpdated(variableAt, averageAt, next, old.mean);
}

/** A column of the sum of the row's clipped slices [first, end), in list order from +0. */
fn summed(row: NamedRow, first: u32, end: u32, column: u32) -> f32 {
  var g = 0.0;
  for (var i = first; i < end; i++) {
    g = g + clipped(values[row.valuesAt + order[i] * scalars.rowSize + column], row.a, row.b);
  }
  return g;
}

fn shortMeanSquare(row: NamedRow, first: u32, end: u32) -> f32 {
  var squares = vec2f(0.0, 0.0);
  for (var column = 0u; column < scalars.rowSize; column++) {
    squares = sumOf(squares, square(summed(row, first, end, column)));
  }
  return meanOf(squares, scalars.rowSize);
}

fn shortRow(row: NamedRow) {
  var sum = accumulator[row.accumulatorAt];
  if (scalars.perRow == 0u) {
    for (var i = row.first; i < row.end; i++) { sum = sum + shortMeanSquare(row, i, i + 1u); }
  } else {
    sum = sum + shortMeanSquare(row, row.first, row.end);
  }
  accumulator[row.accumulatorAt] = sum;
  let root = sqrt(sum + scalars.epsilon);
  for (var column = 0u; column < scalars.rowSize; column++) {
    updateAt(row, column, summed(row, row.first, row.end, column), root);
  }
}

fn meanSquare(row: NamedRow, first: u32, end: u32, lane: u32) -> f32 {
  var squares = vec2f(0.0, 0.0);
  for (var column = lane; column < scalars.rowSize; column += ${LANES}u) {
    squares = sumOf(squares, square(summed(row, first, end, column)));
  }
  return meanOf(workgroupSum(squares, lane), scalars.rowSize);
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let count = rowCount();
  if (scalars.rowSize <= ${SHORT_ROW}u) {
    for (var index = group.x * ${LANES}u + lane; index < count; index += groups.x * ${LANES}u) {
      shortRow(namedRow(index, 1u));
    }
    return;
  }
  for (var index = group.x; index < count; index += groups.x) {
    let row = namedRow(index, 1u);
    var sum = accumulator[row.accumulatorAt];
    if (scalars.perRow == 0u) {
      for (var i = row.first; i < row.end; i++) { sum = sum + meanSquare(row, i, i + 1u, lane); }
    } else {
      sum = sum + meanSquare(row, row.first, row.end, lane);
    }
    storageBarrier();
    if (lane == 0u) { accumulator[row.accumulatorAt] = sum; }
    let root = sqrt(sum + scalars.epsilon);
    for (var column = lane; column < scalars.rowSize; column += ${LANES}u) {
      updateAt(row, column, summed(row, row.first, row.end, column), root);
    }
  }
}`,
};

/** Position of `rowSize` among the scalars of the rows kernels. */
const ROW_SIZE = 4;
