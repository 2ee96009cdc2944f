import { doubleSingle, LANES, rangeOf, type Shader, workgroupSum } from "./common.js";

export const sumSquares: Shader = {
  code: /* wgsl */ `
${rangeOf}
${doubleSingle}
${workgroupSum(LANES)}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var tile = group.x; tile < scalars.count; tile += groups.x) {
    let range = rangeOf(tile);
    let block = tile - ranges[range];
    let start = block * 4096u;
    let end = min(start + 4096u, ranges[range + 1u]);
    let at = ranges[range + 5u];
    var sum = vec2f(0.0, 0.0);
    for (var i = start + lane; i < end; i += ${LANES}u) { sum = sumOf(sum, square(gradient[at + i])); }
    let total = workgroupSum(sum, lane);
    if (lane == 0u) { partials[scalars.firstPartial + ranges[range + 2u] + block] = total; }
  }
}`,
};

export const clipScalars: Shader = {
  code: /* wgsl */ `
${doubleSingle}
${workgroupSum(LANES)}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) workgroups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var index = group.x; index < scalars.count; index += workgroups.x) {
    let first = groups[index * 4u];
    let end = first + groups[index * 4u + 1u];
    let slot = groups[index * 4u + 2u] * 4u;
    var sum = vec2f(0.0, 0.0);
    for (var i = first + lane; i < end; i += ${LANES}u) { sum = sumOf(sum, partials[i]); }
    let total = workgroupSum(sum, lane).x;
    if (lane == 0u) {
      let norm = sqrt(total);
      let limit = scalars.limit;
      var a = limit;
      var b = max(norm, limit);
      // A comparison with NaN may be anything here: the sum's bits say it.
      if (!isFinite(total)) { b = norm; }
      if (scalars.clipKind == 1u) {
        b = 0.0;
        var inverse = 1.0 / limit;
        if (norm > 0.0) { inverse = min(1.0 / norm, inverse); }
        a = limit * inverse;
        // NaN, for drivers to which norm - norm is 0.
        if (!isFinite(norm)) { a = bitcast<f32>(0x7fc00000u | (scalars.count >> 31u)); }
      }
      clips[slot] = a;
      clips[slot + 1u] = b;
      clips[slot + 2u] = norm;
      clips[slot + 3u] = 0.0;
    }
  }
}`,
};
