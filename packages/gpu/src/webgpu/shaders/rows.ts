import { clipping, LANES, lazyAverages, lazyRows, namedRows, type Shader } from "./common.js";

/** One lane for each element of a row. */
export const adagradRows: Shader = {
  unitsPerGroup: (scalars) => LANES / Math.max(scalars[ROW_SIZE]!, 1),
  code: /* wgsl */ `
${clipping("f32")}
${lazyRows}
${namedRows}

@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let rowSize = scalars.rowSize;
  let items = rowCount() * rowSize;
  for (var item = id.x; item < items; item += groups.x * ${LANES}u) {
    let row = namedRow(item / rowSize, rowSize);
    let column = item % rowSize;
    let accumulatorAt = row.accumulatorAt + column;
    var sum = accumulator[accumulatorAt];
    var g = 0.0;
    for (var i = row.first; i < row.end; i++) {
      let value = clipped(values[row.valuesAt + order[i] * rowSize + column], row.a, row.b);
      g = g + value;
      if (scalars.perRow == 0u) { sum = sum + value * value; }
    }
    if (scalars.perRow != 0u) { sum = sum + g * g; }
    accumulator[accumulatorAt] = sum;
    let variableAt = row.variableAt + column;
    let averageAt = row.averageAt + column;
    let old = beforeUpdate(variableAt, averageAt, row.word);
    let next = old.value - (scalars.learningRate * g) / sqrt(sum + scalars.epsilon);
    storeUpdated(variableAt, averageAt, next, old.mean);
  }
}`,
};

/** One lane for each element. */
export const catchUp: Shader = {
  unitsPerGroup: ([rowSize]) => LANES / Math.max(rowSize!, 1),
  code: /* wgsl */ `
${lazyAverages}

@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let items = scalars.count * scalars.rowSize;
  for (var item = id.x; item < items; item += groups.x * ${LANES}u) {
    let word = behind[item / scalars.rowSize];
    if (word == 0u) { continue; }
    let variableAt = scalars.variableOffset + item;
    let averageAt = scalars.averageOffset + item;
    let next = caughtUp(Averaged(variable[variableAt], average[averageAt]), word);
    average[averageAt] = next.mean;
    if (word > 0x7fffffffu) { variable[variableAt] = next.value; }
  }
}`,
};

/** Position of `rowSize` among the scalars of the rows kernels. */
const ROW_SIZE = 4;
