// Sums of squares in float64, in the blocks and the order of the CPU's kernels (packages/workers/native/norms.inc), and
// the numbers by which gradients are clipped.
#pragma once
#include "formulas.h"
#include "ranges.h"

// Loads of one lane that are under way together: a sum in order waits for its elements otherwise.
#define BATCH 16

// Elements i mod 8 go to the eight lanes of an octet, the up to seven left over are added one by one. Every lane
// returns the sum.
template <typename REAL> INLINE double tileSum(GLOBAL const REAL *values, u32 count) {
  const u32 whole = count & ~7u;
  PER_LANE(double, s);
  EACH_LANE(lane) {
    double sum = 0;
    u32 i = lane;
    for (; i + 8 * (BATCH - 1) < whole; i += 8 * BATCH) {
      REAL batch[BATCH];
      UNROLL for (u32 k = 0; k < BATCH; k++) batch[k] = values[i + 8 * k];
      UNROLL for (u32 k = 0; k < BATCH; k++) sum = sum + (double)batch[k] * (double)batch[k];
    }
    for (; i < whole; i += 8) sum = sum + (double)values[i] * (double)values[i];
    s[AT(lane)] = sum;
  }
  double sum = octetSum(s);
  for (u32 i = whole; i < count; i++) sum = sum + (double)values[i] * (double)values[i];
  return sum;
}

// gradient, ranges, partials; rangeCount, firstPartial. One octet for each tile. The sums of a range stand from
// firstPartial plus its field `variable` on.
template <typename REAL> INLINE void sumSquares(const arguments &launch) {
  const u32 rangeCount = (u32)launch.scalars[0].word, octets = threadsOfBlock() / 8;
  GLOBAL double *partials = at<double>(launch.buffers[2]) + launch.scalars[1].word;
  for (u64 tile = (u64)blockIndex() * octets + threadIndex() / 8; tile < launch.count;
       tile += (u64)blocksOfLaunch() * octets) {
    const GLOBAL range &r = *rangeOf(launch.buffers[1], rangeCount, (u32)tile);
    const u32 first = ((u32)tile - r.firstTile) * TILE;
    const double sum = tileSum(at<const REAL>(launch.buffers[0]) + r.gradient + first, lengthOfTile(r.count, first));
    EACH_LANE(lane) {
      if (lane == 0) partials[r.variable + first / TILE] = sum;
    }
  }
}

// TensorFlow's formulas: clip_by_norm is (g * c) / max(norm, c); clip_by_global_norm multiplies by
// c * min(1 / norm, 1 / c) and makes everything NaN when the norm is not finite. As `clipScalars` of
// packages/workers/src/execute/lane-runner.ts; a NaN wins over a number in max and min.
template <typename REAL> INLINE void writeSlot(GLOBAL REAL *slot, double sum, REAL limit, u32 kind) {
  const REAL norm = squareRoot((REAL)sum);
  const bool isNaN = norm != norm;
  slot[2] = norm;
  slot[3] = 0;
  if (kind == CLIP_NORM) {
    slot[0] = limit;
    slot[1] = isNaN || norm > limit ? norm : limit;
    return;
  }
  const REAL one = 1, ofNorm = one / norm, ofLimit = one / limit;
  // In float64, rounded once.
  const double scale = (double)limit * (double)(ofNorm < ofLimit ? ofNorm : ofLimit);
  const bool isFinite = norm - norm == 0;
  slot[0] = isFinite ? (REAL)scale : norm - norm;
  slot[1] = 0;
}

// Partial sums that a block has at hand at a time.
#define CHUNK 1024

// partials, groups, clips; limit, clipKind. A block adds the sums of a group in their order: its first thread adds one
// chunk while the others fetch the next.
template <typename REAL> INLINE void clipScalars(const arguments &launch) {
  SHARED double chunks[2][CHUNK];
  const REAL limit = (REAL)launch.scalars[0].element;
  const u32 kind = (u32)launch.scalars[1].word;
  for (u32 g = blockIndex(); g < launch.count; g += blocksOfLaunch()) {
    // First partial sum, their count, clip slot, 0.
    const words group = at<const words>(launch.buffers[1])[g];
    GLOBAL const double *partials = at<const double>(launch.buffers[0]) + group[0];
    const u32 count = group[1];
    double sum = 0;
    // One round more than there are chunks: round r fetches chunk r and adds chunk r - 1.
    for (u32 start = 0;; start += CHUNK) {
      const u32 parity = start / CHUNK & 1;
      EACH_THREAD(
        if (threadIndex() == 0) {
          if (start > 0) {
            const u32 left = count - (start - CHUNK), length = left < CHUNK ? left : CHUNK;
            for (u32 i = 0; i < length; i++) sum = sum + chunks[parity ^ 1][i];
          }
        } else {
          for (u32 i = threadIndex() - 1; i < CHUNK && start + i < count; i += threadsOfBlock() - 1)
            chunks[parity][i] = partials[start + i];
        }
      )
      if (start >= count) break;
    }
    EACH_THREAD(if (threadIndex() == 0) {
      writeSlot(at<REAL>(launch.buffers[2]) + (u64)group[2] * 4, sum, limit, kind);
    })
  }
}
