import { clipping, groupsOfPart, LANES, lazyAverages, lazyRows, type Shader } from "./common.js";

/** One lane for each element of a row. */
export const adagradRows: Shader = {
  unitsPerGroup: (scalars) => LANES / Math.max(scalars[ROW_SIZE]!, 1),
  code: /* wgsl */ `
${clipping("f32")}
${lazyRows}
${groupsOfPart}

@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let rowSize = scalars.rowSize;
  let part = groupsOfPart();
  let items = part.count * rowSize;
  let a = clips[scalars.clip * 4u];
  let b = clips[scalars.clip * 4u + 1u];
  for (var item = id.x; item < items; item += groups.x * ${LANES}u) {
    let named = part.first + (item / rowSize) * 4u;
    let column = item % rowSize;
    let at = rowGroups[named] * rowSize + column;
    let end = rowGroups[named + 2u];
    var sum = accumulator[scalars.accumulatorOffset + at];
    var g = 0.0;
    for (var i = rowGroups[named + 1u]; i < end; i++) {
      let value = clipped(values[scalars.valuesOffset + order[i] * rowSize + column], a, b);
      g = g + value;
      if (scalars.perRow == 0u) { sum = sum + value * value; }
    }
    if (scalars.perRow != 0u) { sum = sum + g * g; }
    accumulator[scalars.accumulatorOffset + at] = sum;
    let variableAt = scalars.variableOffset + at;
    let averageAt = scalars.averageOffset + at;
    let old = beforeUpdate(variableAt, averageAt, rowGroups[named + 3u]);
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
