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

// Lane 0 writes the accumulator when all lanes have read it.
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
  octetMeets();
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

template <typename REAL> INLINE void updateRowwise(const table_update<REAL> &t, const named_row<REAL> &row) {
  const row_gradient<REAL> gradient = {row.values, t.order, row.first, row.end, t.rowSize};
  const REAL sum = accumulated(row.accumulator, gradient, row.clip, t.perRow);
  const REAL root = squareRoot(sum + t.epsilon);
  EACH_LANE(lane) {
    ROLLED for (u32 k = lane; k < t.rowSize; k += 8)
      updateElement(t, row, k, gradient.column(k, row.clip), root);
  }
}

// Octets of a block at most.
#define MOST_OCTETS 32

// The accumulator of a row of many slices, each squared by itself: their means come octet by octet and are added in
// order. By a whole block; every thread returns it.
template <typename REAL> INLINE REAL hotMeans(const table_update<REAL> &t, const named_row<REAL> &row) {
  SHARED REAL means[MOST_OCTETS], total;
  const u32 octets = threadsOfBlock() / 8;
  EACH_THREAD(if (threadIndex() == 0) total = *row.accumulator;)
  for (u32 k = row.first; k < row.end; k += octets) {
    EACH_OCTET(
      const u32 octet = threadIndex() / 8;
      if (k + octet < row.end) {
        const row_gradient<REAL> slice = {row.values, t.order, k + octet, k + octet + 1, t.rowSize};
        const REAL mean = meanSquare(slice, row.clip);
        EACH_LANE(lane) {
          if (lane == 0) means[octet] = mean;
        }
      }
    )
    EACH_THREAD(if (threadIndex() == 0) {
      for (u32 i = 0; i < octets && k + i < row.end; i++) total = total + means[i];
    })
  }
  return total;
}

// The sums of the columns from `first` on of a row's slices, in g.
template <typename REAL>
INLINE void hotColumns(const table_update<REAL> &t, const named_row<REAL> &row, u32 first, ON_CHIP REAL *g) {
  table_update<REAL> summed = t;
  summed.perRow = true;
  EACH_THREAD(if (threadIndex() < STAGE_COLUMNS) g[threadIndex()] = 0;)
  stagedSums(summed, row, first, g, g);
}

// The accumulator of a row whose slices are summed before. Columns come in ascending order, so that the running sum of a
// lane goes on from one part of the row to the next.
template <typename REAL>
INLINE REAL hotMeanOfSum(const table_update<REAL> &t, const named_row<REAL> &row, ON_CHIP REAL *g) {
  SHARED double s[8];
  SHARED REAL total;
  const u32 whole = t.rowSize & ~7u;
  EACH_THREAD(if (threadIndex() < 8) s[threadIndex()] = 0;)
  for (u32 first = 0; first < t.rowSize; first += STAGE_COLUMNS) {
    hotColumns(t, row, first, g);
    EACH_THREAD(if (threadIndex() < 8) {
      for (u32 i = threadIndex(); i < STAGE_COLUMNS && first + i < whole; i += 8)
        s[threadIndex()] = s[threadIndex()] + (double)g[i] * (double)g[i];
    })
  }
  EACH_THREAD(if (threadIndex() == 0) {
    double sum = pairwise(s);
    for (u32 i = whole; i < t.rowSize; i++)
      sum = sum + (double)g[i % STAGE_COLUMNS] * (double)g[i % STAGE_COLUMNS];
    total = *row.accumulator + (REAL)(sum / (double)t.rowSize);
  })
  return total;
}

template <typename REAL> INLINE void updateHotRowwise(const table_update<REAL> &t, const named_row<REAL> &row) {
  SHARED REAL g[STAGE_COLUMNS];
  const REAL sum = t.perRow ? hotMeanOfSum(t, row, g) : hotMeans(t, row);
  EACH_THREAD(if (threadIndex() == 0) *row.accumulator = sum;)
  const REAL root = squareRoot(sum + t.epsilon);
  for (u32 first = 0; first < t.rowSize; first += STAGE_COLUMNS) {
    // Of a row that is one part the sums are still there.
    if (!t.perRow || t.rowSize > STAGE_COLUMNS) hotColumns(t, row, first, g);
    EACH_THREAD(
      const u32 i = threadIndex();
      if (i < STAGE_COLUMNS && first + i < t.rowSize) updateElement(t, row, first + i, (REAL)g[i], root);
    )
  }
}

// Buffers and scalars as adagradRows.
template <typename REAL> INLINE void rowwiseRows(const arguments &launch) {
  SHARED u32 anyHot;
  const table_update<REAL> t = tableOf<REAL>(launch);
  if (t.rowSize == 0) return;
  const u32 octets = threadsOfBlock() / 8, count = t.count();
  for (u64 base = (u64)blockIndex() * octets; base < count; base += (u64)blocksOfLaunch() * octets) {
    EACH_THREAD(if (threadIndex() == 0) anyHot = 0;)
    EACH_OCTET(
      const u64 i = base + threadIndex() / 8;
      if (i < count) {
        const named_row<REAL> row = rowAt(t, (u32)i, 1);
        if (isHot(row)) anyHot = 1;
        else updateRowwise(t, row);
      }
    )
    const bool hot = anyHot != 0;
    for (u32 i = 0; hot && i < octets && base + i < count; i++) {
      const named_row<REAL> row = rowAt(t, (u32)base + i, 1);
      if (isHot(row)) updateHotRowwise(t, row);
    }
  }
}
