/**
 * xxHash64 (XXH64) in 32-bit integer arithmetic, without a BigInt an id. The hash is left in `digest`: its low
 * and its high half.
 *
 * Source: xxHash fast digest algorithm, format specification 0.1.1, section "XXH64 algorithm description".
 */

/** A 64-bit number as the two halves that 32-bit arithmetic works on. */
export interface Words {
  readonly low: number;
  readonly high: number;
}

/** The last hash, as int32: [low, high]. */
export const digest = new Int32Array(2);

const P1_HIGH = 0x9e3779b1 | 0;
const P1_LOW = 0x85ebca87 | 0;
const P2_HIGH = 0xc2b2ae3d | 0;
const P2_LOW = 0x27d4eb4f | 0;
const P3_HIGH = 0x165667b1 | 0;
const P3_LOW = 0x9e3779f9 | 0;
const P4_HIGH = 0x85ebca77 | 0;
const P4_LOW = 0xc2b2ae63 | 0;
const P5_HIGH = 0x27d4eb2f | 0;
const P5_LOW = 0x165667c5 | 0;

/** The high half of the product of two uint32, as an int32. */
export function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const first = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const second = (Math.imul(aLow, bHigh) + (first & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (first >>> 16) + (second >>> 16)) | 0;
}

/** The high half of (low, high) * (timesLow, timesHigh); the low half is `Math.imul(low, timesLow)`. */
function productHigh(low: number, high: number, timesLow: number, timesHigh: number): number {
  return (multiplyHigh(low, timesLow) + Math.imul(low, timesHigh) + Math.imul(high, timesLow)) | 0;
}

/** The high half of a sum whose low half came out as `sumLow` when `addedLow` was added to it. */
function sumHigh(high: number, addedHigh: number, sumLow: number, addedLow: number): number {
  return (high + addedHigh + (sumLow >>> 0 < addedLow >>> 0 ? 1 : 0)) | 0;
}

/** The upper word of (upper, lower) rotated left by `bits`, 1 to 31; with the words swapped, the lower one. */
function rotate(upper: number, lower: number, bits: number): number {
  return (upper << bits) | (lower >>> (32 - bits));
}

/** Leaves in `digest` one round on an accumulator: rotate(accumulator + lane * P2, 31) * P1. */
function round(low: number, high: number, laneLow: number, laneHigh: number): void {
  const sumLow = (low + Math.imul(laneLow, P2_LOW)) | 0;
  const sum = sumHigh(productHigh(laneLow, laneHigh, P2_LOW, P2_HIGH), high, sumLow, low);
  const rotatedLow = rotate(sumLow, sum, 31);
  digest[0] = Math.imul(rotatedLow, P1_LOW);
  digest[1] = productHigh(rotatedLow, rotate(sum, sumLow, 31), P1_LOW, P1_HIGH);
}

/** Leaves in `digest` what 8 bytes of the tail make of the accumulator. */
function consume8(low: number, high: number, laneLow: number, laneHigh: number): void {
  round(0, 0, laneLow, laneHigh);
  const mixedLow = digest[0]! ^ low;
  const mixedHigh = digest[1]! ^ high;
  const rotatedLow = rotate(mixedLow, mixedHigh, 27);
  const product = productHigh(rotatedLow, rotate(mixedHigh, mixedLow, 27), P1_LOW, P1_HIGH);
  const sumLow = (Math.imul(rotatedLow, P1_LOW) + P4_LOW) | 0;
  digest[0] = sumLow;
  digest[1] = sumHigh(product, P4_HIGH, sumLow, P4_LOW);
}

/** Leaves in `digest` what 4 bytes of the tail make of the accumulator. */
function consume4(low: number, high: number, lane: number): void {
  const mixedLow = low ^ Math.imul(lane, P1_LOW);
  const mixedHigh = high ^ productHigh(lane, 0, P1_LOW, P1_HIGH);
  const rotatedLow = rotate(mixedLow, mixedHigh, 23);
  const product = productHigh(rotatedLow, rotate(mixedHigh, mixedLow, 23), P2_LOW, P2_HIGH);
  const sumLow = (Math.imul(rotatedLow, P2_LOW) + P3_LOW) | 0;
  digest[0] = sumLow;
  digest[1] = sumHigh(product, P3_HIGH, sumLow, P3_LOW);
}

/** Leaves in `digest` what one byte of the tail makes of the accumulator. */
function consume1(low: number, high: number, lane: number): void {
  const mixedLow = low ^ Math.imul(lane, P5_LOW);
  const mixedHigh = high ^ productHigh(lane, 0, P5_LOW, P5_HIGH);
  const rotatedLow = rotate(mixedLow, mixedHigh, 11);
  digest[0] = Math.imul(rotatedLow, P1_LOW);
  digest[1] = productHigh(rotatedLow, rotate(mixedHigh, mixedLow, 11), P1_LOW, P1_HIGH);
}

/** Leaves in `digest` the hash that the last mixing makes of the accumulator. */
function avalanche(low: number, high: number): void {
  const firstLow = low ^ (high >>> 1);
  const secondLow = Math.imul(firstLow, P2_LOW);
  const secondHigh = productHigh(firstLow, high, P2_LOW, P2_HIGH);
  const thirdLow = secondLow ^ ((secondLow >>> 29) | (secondHigh << 3));
  const last = productHigh(thirdLow, secondHigh ^ (secondHigh >>> 29), P3_LOW, P3_HIGH);
  digest[0] = Math.imul(thirdLow, P3_LOW) ^ last;
  digest[1] = last;
}

/** Leaves in `digest` the hash of the 8 bytes of a 64-bit integer, least significant byte first. */
export function hashWords(low: number, high: number, seedLow: number, seedHigh: number): void {
  const startLow = (seedLow + P5_LOW) | 0;
  const start = sumHigh(seedHigh, P5_HIGH, startLow, P5_LOW);
  const lengthLow = (startLow + 8) | 0;
  consume8(lengthLow, sumHigh(start, 0, lengthLow, 8), low, high);
  avalanche(digest[0]!, digest[1]!);
}

/** The four accumulators of inputs of 32 bytes or more, [low, high] each. */
const stripes = new Int32Array(8);

function startStripes(seedLow: number, seedHigh: number): void {
  for (let k = 0; k < 4; k++) {
    // seed + P1 + P2, seed + P2, seed, seed - P1; minus P1 is its two's complement
    const firstLow = k < 2 ? P2_LOW : 0;
    const firstHigh = k < 2 ? P2_HIGH : 0;
    const secondLow = k === 0 ? P1_LOW : k === 3 ? -P1_LOW | 0 : 0;
    const secondHigh = k === 0 ? P1_HIGH : k === 3 ? ~P1_HIGH : 0;
    const partLow = (seedLow + firstLow) | 0;
    const sumLow = (partLow + secondLow) | 0;
    stripes[2 * k] = sumLow;
    stripes[2 * k + 1] = sumHigh(
      sumHigh(seedHigh, firstHigh, partLow, firstLow),
      secondHigh,
      sumLow,
      secondLow,
    );
  }
}

function consumeStripe(view: DataView, offset: number): void {
  for (let k = 0; k < 4; k++) {
    const at = offset + 8 * k;
    round(stripes[2 * k]!, stripes[2 * k + 1]!, view.getInt32(at, true), view.getInt32(at + 4, true));
    stripes[2 * k] = digest[0]!;
    stripes[2 * k + 1] = digest[1]!;
  }
}

const JOIN_BITS = [1, 7, 12, 18] as const;

/** Leaves in `digest` the four accumulators made one. */
function joinStripes(): void {
  let low = 0;
  let high = 0;
  for (let k = 0; k < 4; k++) {
    const stripeLow = stripes[2 * k]!;
    const stripeHigh = stripes[2 * k + 1]!;
    const addedLow = rotate(stripeLow, stripeHigh, JOIN_BITS[k]!);
    low = (low + addedLow) | 0;
    high = sumHigh(high, rotate(stripeHigh, stripeLow, JOIN_BITS[k]!), low, addedLow);
  }
  for (let k = 0; k < 4; k++) {
    round(0, 0, stripes[2 * k]!, stripes[2 * k + 1]!);
    const mixedLow = digest[0]! ^ low;
    const product = productHigh(mixedLow, digest[1]! ^ high, P1_LOW, P1_HIGH);
    low = (Math.imul(mixedLow, P1_LOW) + P4_LOW) | 0;
    high = sumHigh(product, P4_HIGH, low, P4_LOW);
  }
  digest[0] = low;
  digest[1] = high;
}

/** Leaves in `digest` the hash of the first `length` bytes of `view`. */
export function hashBytes(view: DataView, length: number, seedLow: number, seedHigh: number): void {
  let at = 0;
  if (length >= 32) {
    startStripes(seedLow, seedHigh);
    for (; at + 32 <= length; at += 32) consumeStripe(view, at);
    joinStripes();
  } else {
    digest[0] = seedLow + P5_LOW;
    digest[1] = sumHigh(seedHigh, P5_HIGH, digest[0]!, P5_LOW);
  }
  digest[0]! += length;
  digest[1] = sumHigh(digest[1]!, 0, digest[0]!, length);
  for (; at + 8 <= length; at += 8) {
    consume8(digest[0]!, digest[1]!, view.getInt32(at, true), view.getInt32(at + 4, true));
  }
  if (at + 4 <= length) {
    consume4(digest[0]!, digest[1]!, view.getInt32(at, true));
    at += 4;
  }
  for (; at < length; at++) consume1(digest[0]!, digest[1]!, view.getUint8(at));
  avalanche(digest[0]!, digest[1]!);
}
