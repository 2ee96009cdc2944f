// Adagrad with one accumulator element a row, which takes the mean of the row's squares, summed in float64 in the order
// of the CPU's kernels (packages/workers/native/rowwise.inc). An octet works on a row: column i belongs to lane i mod 8.
#pragma once
#include "dense.h"
#include "rows.h"

// The gradient of a row: its slices from `first` to `end` in `order`, or with no slices the dense one at `values`.
template <typename REAL> struct row_gradient {
  GLOBAL const REAL *values;
  GLOBAL const u32 *order;
  u32 first, end, rowSize;

  INLINE_MEMBER REAL column(u32 i, const clipping<REAL> &clip) const {
    if (first == end) return clipped(values[i], clip);
    REAL g = 0;
    ROLLED for (u32 k = first; k < end; k++) g = g + clipped(values[(u64)order[k] * rowSize + i], clip);
    return g;
  }
};

template <typename REAL> INLINE REAL meanSquare(const row_gradient<REAL> &gradient, const clipping<REAL> &clip) {
  const u32 whole = gradient.rowSize & ~7u;
  PER_LANE(double, s);
  EACH_LANE(lane) {
    double sum = 0;
    ROLLED for (u32 i = lane; i < whole; i += 8) {
      const double g = (double)gradient.column(i, clip);
      sum = sum + g * g;
    }
    s[AT(lane)] = sum;
  }
  double sum = octetSum(s);
  ROLLED for (u32 i = whole; i < gradient.rowSize; i++) {
    const double g = (double)gradient.column(i, clip);
    sum = sum + g * g;
  }
  return (REAL)(sum / (double)gradient.rowSize);
}

// Lane 0 writes the accumulator, which all lanes have read: they met in octetSum since.
template <typename REAL>
INLINE REAL accumulated(GLOBAL REAL *s, const row_gradient<REAL> &gradient, const clipping<REAL> &clip, bool perRow) {
  REAL sum = *s;
  if (!perRow && gradient.end - gradient.first > 1) {
    for (u32 k = gradient.first; k < gradient.end; k++) {
      row_gradient<REAL> slice = gradient;
      slice.first = k;
      slice.end = k + 1;
      sum = sum + meanSquare(slice, clip);
    }
  } else {
    sum = sum + meanSquare(gradient, clip);
  }
  EACH_LANE(lane) {
    if (lane == 0) *s = sum;
  }
  return sum;
}

// Octets of the launch go over its rows.
#define EACH_ROW(row) \
  for (u64 row = (u64)blockIndex() * (threadsOfBlock() / 8) + threadIndex() / 8; row < launch.count; \
       row += (u64)blocksOfLaunch() * (threadsOfBlock() / 8))

// Buffers and scalars as adagradDense; a tile is a row.
template <typename REAL> INLINE void rowwiseDense(const arguments &launch) {
  const u32 rangeCount = (u32)launch.scalars[6].word;
  EACH_ROW(row) {
    const GLOBAL range &r = *rangeOf(launch.buffers[4], rangeCount, (u32)row);
    const adagrad<REAL> update = adagradOf<REAL>(launch, r.clip);
    const u32 inRange = (u32)row - r.firstTile, rowSize = r.rowSize;
    if (rowSize == 0) continue;
    const u64 first = (u64)inRange * rowSize;
    GLOBAL REAL *w = at<REAL>(launch.buffers[0]) + r.variable + first;
    GLOBAL REAL *e = at<REAL>(launch.buffers[2]) + r.average + first;
    const row_gradient<REAL> gradient = {at<const REAL>(launch.buffers[3]) + r.gradient + first, nullptr, 0, 0,
                                         rowSize};
    const REAL sum = accumulated(at<REAL>(launch.buffers[1]) + r.accumulator + inRange, gradient, update.clip, false);
    const REAL root = squareRoot(sum + update.epsilon);
    EACH_LANE(lane) {
      ROLLED for (u32 i = lane; i < rowSize; i += 8) {
        REAL next = w[i] - (update.rate * gradient.column(i, update.clip)) / root;
        if (update.ema != EMA_NONE) {
          const REAL average = averaged(e[i], next, update.m, update.c);
          e[i] = average;
          if (update.ema == EMA_OVERWRITE) next = average;
        }
        w[i] = next;
      }
    }
  }
}

// Buffers and scalars as adagradRows.
template <typename REAL> INLINE void rowwiseRows(const arguments &launch) {
  const table_update<REAL> t = tableOf<REAL>(launch);
  if (t.rowSize == 0) return;
  EACH_ROW(i) {
    const row_group group = groupAt(t.groups, i);
    GLOBAL REAL *w = t.variable + (u64)group.row * t.rowSize;
    const row_gradient<REAL> gradient = {t.values, t.order, group.first, group.end, t.rowSize};
    const REAL sum = accumulated(t.accumulator + group.row, gradient, t.clip, t.perRow);
    const REAL root = squareRoot(sum + t.epsilon);
    EACH_LANE(lane) {
      ROLLED for (u32 k = lane; k < t.rowSize; k += 8) w[k] = w[k] - (t.rate * gradient.column(k, t.clip)) / root;
    }
  }
}
