import { DIGITS } from "../../kernels/table.js";
import { LANES, type Shader } from "./common.js";

// A lane for each digit where digits are counted, and for each tile where tiles are.
if (LANES !== DIGITS) throw new Error("The sorting kernels have as many lanes as digits.");

/** Words that have a bit for each lane. */
const WORDS = LANES / 32;

/** Memory of a workgroup that sorts, in bytes: below. */
export const SORT_BYTES = 4 * (WORDS * DIGITS + 2 * DIGITS + LANES);

/** The sum up to each lane, in \`sums\` when it returns, until the next call. */
const addUp = /* wgsl */ `
var<workgroup> sums: array<u32, ${LANES}>;

fn addUp(mine: u32, lane: u32) {
  workgroupBarrier();
  sums[lane] = mine;
  workgroupBarrier();
  for (var reach = 1u; reach < ${LANES}u; reach *= 2u) {
    var more = 0u;
    if (lane >= reach) { more = sums[lane - reach]; }
    workgroupBarrier();
    sums[lane] += more;
    workgroupBarrier();
  }
}`;

/** Lanes that share a digit: those before this one, and all. Lanes that take no part learn what they would be. */
const ranks = /* wgsl */ `
var<workgroup> masks: array<atomic<u32>, ${WORDS * DIGITS}>;

struct Rank { before: u32, all: u32 }

fn rankOf(digit: u32, takesPart: bool, lane: u32) -> Rank {
  for (var word = 0u; word < ${WORDS}u; word++) { atomicStore(&masks[word * ${DIGITS}u + lane], 0u); }
  workgroupBarrier();
  if (takesPart) { atomicOr(&masks[lane / 32u * ${DIGITS}u + digit], 1u << (lane % 32u)); }
  workgroupBarrier();
  let own = lane / 32u;
  let lower = (1u << (lane % 32u)) - 1u;
  var rank = Rank(0u, 0u);
  for (var word = 0u; word < ${WORDS}u; word++) {
    let mask = atomicLoad(&masks[word * ${DIGITS}u + digit]);
    rank.all += countOneBits(mask);
    if (word < own) { rank.before += countOneBits(mask); }
    if (word == own) { rank.before += countOneBits(mask & lower); }
  }
  workgroupBarrier();
  return rank;
}`;

/** The last part whose number \`field\` is not above a slice (field 0) or a key (field 2): where its words begin. */
const partOf = /* wgsl */ `
fn partOf(value: u32, field: u32) -> u32 {
  var low = 0u;
  var high = scalars.partCount;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (parts[middle * 8u + field] <= value) { low = middle; } else { high = middle; }
  }
  return low * 8u;
}`;

/** A slice as it came: its key, and its number within its table. */
const named = /* wgsl */ `
${partOf}
fn named(slice: u32) -> vec2u {
  let part = partOf(slice, 0u);
  return vec2u(parts[part + 1u] + rows[slice], slice - parts[part]);
}

fn digitOf(key: u32, pass_: u32) -> u32 {
  return (key >> (pass_ * scalars.digitBits)) & ((1u << scalars.digitBits) - 1u);
}`;

/** A loop over tiles, from \`start\` to \`end\`. */
const tiles = (body: string) => /* wgsl */ `
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var tile = group.x; tile < scalars.count; tile += groups.x) {
    let start = tile * scalars.tileLength;
    let end = start + min(scalars.slices - start, scalars.tileLength);
    ${body}
  }
}`;

/** The numbers of slices by digit, in \`digits\`. */
const counted = (source: string, pass: string) => /* wgsl */ `
    workgroupBarrier();
    atomicStore(&digits[lane], 0u);
    workgroupBarrier();
    for (var i = start + lane; i < end; i += ${LANES}u) { atomicAdd(&digits[digitOf(${source}, ${pass})], 1u); }
    workgroupBarrier();`;
const digits = /* wgsl */ `var<workgroup> digits: array<atomic<u32>, ${DIGITS}>;`;

/** Moves slices to where \`places\` says, in their order. \`pair\` and \`store\` may use i and at. */
const move = (pair: string, pass: string, store: string) => /* wgsl */ `
    for (var chunk = start; chunk < end; chunk += ${LANES}u) {
      let i = chunk + lane;
      let takesPart = i < end;
      var pair = vec2u(0u, 0u);
      if (takesPart) { pair = ${pair}; }
      let digit = digitOf(pair.x, ${pass});
      let rank = rankOf(digit, takesPart, lane);
      if (takesPart) {
        let at = places[digit] + rank.before;
        ${store}
      }
      workgroupBarrier();
      if (takesPart && rank.before + 1u == rank.all) { places[digit] += rank.all; }
    }`;
const places = /* wgsl */ `var<workgroup> places: array<u32, ${DIGITS}>;`;

export const countDigits: Shader = {
  code: /* wgsl */ `
${named}
${digits}
${tiles(/* wgsl */ `
    ${counted("named(i).x", "0u")}
    for (var pass_ = 0u; pass_ < scalars.passes; pass_++) {
      let first = (pass_ * scalars.count + tile) * ${DIGITS}u;
      atomicStore(&counters[first + lane], select(0u, atomicLoad(&digits[lane]), pass_ == 0u));
    }`)}`,
};

export const sortPass: Shader = {
  code: /* wgsl */ `
${named}
${addUp}
${ranks}
${places}
${tiles(/* wgsl */ `
    // Behind the slices of lower digits, and those of the same in the tiles before.
    let counts = scalars.pass_ * scalars.count * ${DIGITS}u;
    let nextCounts = counts + scalars.count * ${DIGITS}u;
    var before = 0u;
    var all = 0u;
    for (var t = 0u; t < scalars.count; t++) {
      let count = atomicLoad(&counters[counts + t * ${DIGITS}u + lane]);
      all += count;
      if (t < tile) { before += count; }
    }
    addUp(all, lane);
    places[lane] = before + sums[lane] - all;
    workgroupBarrier();
    ${move(
      "sourceOf(i)",
      "scalars.pass_",
      /* wgsl */ `
        to[at] = pair;
        if (scalars.next != 0u) {
          let next = digitOf(pair.x, scalars.pass_ + 1u);
          atomicAdd(&counters[nextCounts + at / scalars.tileLength * ${DIGITS}u + next], 1u);
        }`,
    )}`)}

fn sourceOf(i: u32) -> vec2u {
  if (scalars.pass_ == 0u) { return named(i); }
  return from_[i];
}`,
};

/** @param sorted - the pair at i, in WGSL */
const heads = (sorted: (i: string) => string) => /* wgsl */ `
fn isHead(i: u32) -> bool {
  return i == 0u || ${sorted("(i - 1u)")}.x != ${sorted("i")}.x;
}`;

export const countRows: Shader = {
  code: /* wgsl */ `
${addUp}
${heads((i) => `sorted[${i}]`)}
${tiles(/* wgsl */ `
    var mine = 0u;
    for (var i = start + lane; i < end; i += ${LANES}u) { mine += u32(isHead(i)); }
    addUp(mine, lane);
    if (lane == 0u) { atomicStore(&counters[tile], sums[${LANES - 1}]); }`)}`,
};

/** \`writeGroup\`: what the sorted slice i adds, when \`group\` groups begin before it. Headers stand before the groups. */
const writer = (sorted: (i: string) => string) => /* wgsl */ `
${heads(sorted)}

/** A part, by its first word, whose groups, if it has any, begin with this one. */
fn partBegins(part: u32, group: u32) {
  let entry = scalars.partCount * 2u + group;
  rowGroups[part] = entry;
  for (var word = 3u; word < 8u; word++) { rowGroups[part + word] = parts[part + word]; }
  if (part > 0u) { rowGroups[part - 7u] = entry; }
}

fn writeGroup(i: u32, group: u32) {
  let pair = ${sorted("i")};
  let own = partOf(pair.x, 2u);
  order[i] = pair.y;
  let head = isHead(i);
  if (head) {
    let entry = (scalars.partCount * 2u + group) * 4u;
    rowGroups[entry] = pair.x - parts[own + 2u];
    rowGroups[entry + 1u] = i;
    var word = 0u;
    if (scalars.lazy != 0u) { word = behind[parts[own] + pair.y]; }
    rowGroups[entry + 3u] = word;
    if (group > 0u) { rowGroups[entry - 2u] = i; }
    // The parts since the row before begin here.
    var before = 0u;
    if (i > 0u) { before = ${sorted("(i - 1u)")}.x; }
    for (var k = own + 8u; k > 0u; k -= 8u) {
      if (i > 0u && parts[k - 6u] <= before) { break; }
      partBegins(k - 8u, group);
    }
  }
  if (i + 1u < scalars.slices) { return; }
  let found = group + u32(head);
  rowGroups[(scalars.partCount * 2u + found - 1u) * 4u + 2u] = scalars.slices;
  for (var k = own + 8u; k < scalars.partCount * 8u; k += 8u) { partBegins(k, found); }
  rowGroups[scalars.partCount * 8u - 7u] = scalars.partCount * 2u + found;
}`;

const write = (found: string) => /* wgsl */ `
    var found = ${found};
    for (var chunk = start; chunk < end; chunk += ${LANES}u) {
      let i = chunk + lane;
      var head = false;
      if (i < end) { head = isHead(i); }
      let rank = rankOf(0u, head, lane);
      if (i < end) { writeGroup(i, found + rank.before); }
      found += rank.all;
    }`;

export const writeGroups: Shader = {
  code: /* wgsl */ `
${partOf}
${addUp}
${ranks}
${writer((i) => `sorted[${i}]`)}
${tiles(/* wgsl */ `
    // As many lanes as tiles at most.
    var mine = 0u;
    if (lane < tile) { mine = atomicLoad(&counters[lane]); }
    addUp(mine, lane);
    ${write(`sums[${LANES - 1}]`)}`)}`,
};

export const groupSlices: Shader = {
  code: /* wgsl */ `
${named}
${addUp}
${ranks}
${places}
${digits}
${writer((i) => `pairAt(scalars.passes, ${i})`)}

/** What a pass takes: the first one writes to the even pairs. */
fn pairAt(pass_: u32, i: u32) -> vec2u {
  if (pass_ == 0u) { return named(i); }
  if (pass_ % 2u == 0u) { return odd[i]; }
  return even[i];
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  if (group.x > 0u) { return; }
  let start = 0u;
  let end = scalars.slices;
  for (var pass_ = 0u; pass_ < scalars.passes; pass_++) {
    ${counted("pairAt(pass_, i).x", "pass_")}
    let all = atomicLoad(&digits[lane]);
    addUp(all, lane);
    places[lane] = sums[lane] - all;
    workgroupBarrier();
    ${move("pairAt(pass_, i)", "pass_", "if (pass_ % 2u == 0u) { even[at] = pair; } else { odd[at] = pair; }")}
    storageBarrier();
    workgroupBarrier();
  }
  ${write("0u")}
}`,
};
