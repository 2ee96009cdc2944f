import { LANES, type Shader } from "./common.js";

/** Units are tiles of 4096 elements; a lane strides over all of them. */
const loop = (body: string) => /* wgsl */ `
@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < scalars.elements; i += groups.x * ${LANES}u) { ${body} }
}`;

export const fill: Shader = { code: loop("target_[scalars.offset + i] = scalars.value;") };

export const copy: Shader = {
  code: loop("target_[scalars.targetOffset + i] = source[scalars.sourceOffset + i];"),
};

/** One lane for each element. */
export const gather: Shader = {
  unitsPerGroup: ([rowSize]) => LANES / Math.max(rowSize!, 1),
  code: /* wgsl */ `
@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let items = scalars.count * scalars.rowSize;
  for (var item = id.x; item < items; item += groups.x * ${LANES}u) {
    let at = rows[item / scalars.rowSize] * scalars.rowSize + item % scalars.rowSize;
    target_[item] = source[scalars.sourceOffset + at];
  }
}`,
};
