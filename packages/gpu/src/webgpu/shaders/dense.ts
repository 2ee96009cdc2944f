import { clipping, LANES, rangeOf, type Shader } from "./common.js";

/** A tile of 4096 elements is 1024 vectors: four for each lane. */
const tiles = (body: string, before: string) => /* wgsl */ `
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var tile = group.x; tile < scalars.count; tile += groups.x) {
    let range = rangeOf(tile);
    let start = (tile - ranges[range]) * 1024u;
    let end = min(start + 1024u, (ranges[range + 1u] + 3u) / 4u);
    ${before}
    for (var i = start + lane; i < end; i += ${LANES}u) {
      ${body}
    }
  }
}`;

/** Offsets are in elements, arrays in vectors of four; what is beyond the end of a range is padding. */
export const adagradDense: Shader = {
  byFours: true,
  code:
    rangeOf +
    clipping("vec4f") +
    tiles(
      /* wgsl */ `
      let g = clipped(gradient[gradientAt + i], a, b);
      let sum = accumulator[accumulatorAt + i] + g * g;
      accumulator[accumulatorAt + i] = sum;
      let moved = (scalars.learningRate * g) / sqrt(sum + scalars.epsilon);
      var next = variable[variableAt + i] - moved;
      if (scalars.emaKind != 0u) {
        let mean = scalars.momentum * average[averageAt + i] + scalars.complement * next;
        average[averageAt + i] = mean;
        if (scalars.emaKind == 2u) { next = mean; }
      }
      variable[variableAt + i] = next;`,
      /* wgsl */ `
    let variableAt = ranges[range + 2u] / 4u;
    let accumulatorAt = ranges[range + 3u] / 4u;
    let averageAt = ranges[range + 4u] / 4u;
    let gradientAt = ranges[range + 5u] / 4u;
    let slot = ranges[range + 6u] * 4u;
    let a = clips[slot];
    let b = clips[slot + 1u];`,
    ),
};

export const ema: Shader = {
  byFours: true,
  code:
    rangeOf +
    tiles(
      /* wgsl */ `
      let value = variable[variableAt + i];
      let mean = scalars.momentum * average[averageAt + i] + scalars.complement * value;
      average[averageAt + i] = mean;
      if (scalars.emaKind == 2u) { variable[variableAt + i] = mean; }`,
      /* wgsl */ `
    let variableAt = ranges[range + 2u] / 4u;
    let averageAt = ranges[range + 4u] / 4u;`,
    ),
};
