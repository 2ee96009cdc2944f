import { clipping, LANES, type Shader } from "./common.js";

/** One lane for each element of a row. */
export const adagradRows: Shader = {
  unitsPerGroup: (scalars) => LANES / Math.max(scalars[ROW_SIZE]!, 1),
  code: /* wgsl */ `
${clipping("f32")}

@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let rowSize = scalars.rowSize;
  let items = scalars.count * rowSize;
  let a = clips[scalars.clip * 4u];
  let b = clips[scalars.clip * 4u + 1u];
  for (var item = id.x; item < items; item += groups.x * ${LANES}u) {
    let named = (item / rowSize) * 4u;
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
    let old = variable[scalars.variableOffset + at];
    variable[scalars.variableOffset + at] = old - (scalars.learningRate * g) / sqrt(sum + scalars.epsilon);
  }
}`,
};

/** Position of `rowSize` among the scalars of the rows kernels. */
const ROW_SIZE = 4;
