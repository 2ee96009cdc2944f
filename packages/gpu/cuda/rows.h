// Rows named by slices: for each row its slices in list order. `order` has the numbers of the slices by row.
#pragma once
#include "formulas.h"

// A row that slices name: its number, and where its slices stand in `order`.
struct row_group {
  u32 row, first, end;
};

INLINE row_group groupAt(GLOBAL const words *groups, u64 i) {
  const words group = groups[i];
  return {group[0], group[1], group[2]};
}

// variable, accumulator, values, order, rowGroups, clips; learningRate, epsilon, clipKind, perRow, rowSize, clip,
// variableOffset, accumulatorOffset, valuesOffset
template <typename REAL> struct table_update {
  GLOBAL REAL *variable, *accumulator;
  GLOBAL const REAL *values;
  GLOBAL const u32 *order;
  GLOBAL const words *groups;
  REAL rate, epsilon;
  clipping<REAL> clip;
  bool perRow;
  u32 rowSize;
};

template <typename REAL> INLINE table_update<REAL> tableOf(const arguments &launch) {
  const u64 *buffers = launch.buffers;
  const scalar *scalars = launch.scalars;
  return {at<REAL>(buffers[0]) + scalars[6].word,
          at<REAL>(buffers[1]) + scalars[7].word,
          at<const REAL>(buffers[2]) + scalars[8].word,
          at<const u32>(buffers[3]),
          at<const words>(buffers[4]),
          (REAL)scalars[0].element,
          (REAL)scalars[1].element,
          clippingOf<REAL>((u32)scalars[2].word, buffers[5], (u32)scalars[5].word),
          scalars[3].word != 0,
          (u32)scalars[4].word};
}

// Which threads of a block share a row: 2^shift of them, as many as it has columns, or a whole block.
INLINE u32 rowShift(u32 columns, u32 threads) {
  u32 shift = 0;
  while ((1u << shift) < columns && (2u << shift) <= threads) shift++;
  return shift;
}

// Slices whose elements are under way together.
#define AHEAD 8

// The sums of `WIDTH` neighbouring columns of a row: of the slices, and of their squares where each is squared.
template <typename REAL, u32 WIDTH> struct column_sums {
  REAL g[WIDTH], squares[WIDTH];
};

// Adds `COUNT` slices from position `k` of the order on, all loaded before the first is needed.
template <u32 COUNT, typename REAL, u32 WIDTH>
INLINE void addSlices(column_sums<REAL, WIDTH> &sums, const table_update<REAL> &t, GLOBAL const REAL *values, u32 k) {
  REAL slices[COUNT * WIDTH];
  UNROLL for (u32 i = 0; i < COUNT; i++) load<WIDTH>(slices + i * WIDTH, values + (u64)t.order[k + i] * t.rowSize);
  clipAll<COUNT * WIDTH>(slices, t.clip);
  UNROLL for (u32 i = 0; i < COUNT * WIDTH; i++) sums.g[i % WIDTH] = sums.g[i % WIDTH] + slices[i];
  if (t.perRow) return;
  UNROLL for (u32 i = 0; i < COUNT * WIDTH; i++)
    sums.squares[i % WIDTH] = sums.squares[i % WIDTH] + slices[i] * slices[i];
}

// A sum of slices starts from +0, so a slice of -0 counts as +0.
template <u32 WIDTH, typename REAL>
INLINE void updateColumns(const table_update<REAL> &t, const row_group &group, u32 column) {
  GLOBAL REAL *w = t.variable + (u64)group.row * t.rowSize + column;
  GLOBAL REAL *s = t.accumulator + (u64)group.row * t.rowSize + column;
  GLOBAL const REAL *values = t.values + column;
  column_sums<REAL, WIDTH> sums;
  REAL variable[WIDTH];
  load<WIDTH>(sums.squares, s);
  load<WIDTH>(variable, w);
  UNROLL for (u32 j = 0; j < WIDTH; j++) sums.g[j] = 0;
  u32 k = group.first;
  ROLLED for (; k + AHEAD <= group.end; k += AHEAD) addSlices<AHEAD>(sums, t, values, k);
  ROLLED for (; k < group.end; k++) addSlices<1>(sums, t, values, k);
  UNROLL for (u32 j = 0; j < WIDTH; j++) {
    if (t.perRow) sums.squares[j] = sums.squares[j] + sums.g[j] * sums.g[j];
    variable[j] = stepped(variable[j], sums.squares[j], sums.g[j], t.rate, t.epsilon);
  }
  store<WIDTH>(s, sums.squares);
  store<WIDTH>(w, variable);
}

template <u32 WIDTH, typename REAL> INLINE void updateRows(const arguments &launch, const table_update<REAL> &t) {
  const u32 vectors = t.rowSize / WIDTH, shift = rowShift(vectors, threadsOfBlock());
  const u32 rowsOfBlock = threadsOfBlock() >> shift, lane = threadIndex() & ((1u << shift) - 1);
  for (u64 i = (u64)blockIndex() * rowsOfBlock + (threadIndex() >> shift); i < launch.count;
       i += (u64)blocksOfLaunch() * rowsOfBlock) {
    const row_group group = groupAt(t.groups, i);
    ROLLED for (u32 v = lane; v < vectors; v += 1u << shift) updateColumns<WIDTH>(t, group, v * WIDTH);
  }
}

template <typename REAL> INLINE void adagradRows(const arguments &launch) {
  const table_update<REAL> t = tableOf<REAL>(launch);
  const u32 width = 16 / sizeof(REAL);
  if (t.rowSize % width == 0 && aligned((u64)t.variable, (u64)t.accumulator, (u64)t.values))
    updateRows<width>(launch, t);
  else updateRows<1>(launch, t);
}

// source, rows, target; rowSize, sourceOffset: target[i, :] = source[rows[i], :]
template <typename REAL, u32 WIDTH> INLINE void gatherRows(const arguments &launch) {
  GLOBAL const REAL *source = at<const REAL>(launch.buffers[0]) + launch.scalars[1].word;
  GLOBAL const u32 *rows = at<const u32>(launch.buffers[1]);
  GLOBAL REAL *target = at<REAL>(launch.buffers[2]);
  const u32 rowSize = (u32)launch.scalars[0].word, vectors = rowSize / WIDTH;
  const u32 shift = rowShift(vectors, threadsOfBlock());
  const u32 rowsOfBlock = threadsOfBlock() >> shift, lane = threadIndex() & ((1u << shift) - 1);
  for (u64 i = (u64)blockIndex() * rowsOfBlock + (threadIndex() >> shift); i < launch.count;
       i += (u64)blocksOfLaunch() * rowsOfBlock) {
    GLOBAL const REAL *row = source + (u64)rows[i] * rowSize;
    ROLLED for (u32 v = lane; v < vectors; v += 1u << shift) {
      REAL values[WIDTH];
      load<WIDTH>(values, row + v * WIDTH);
      store<WIDTH>(target + i * rowSize + v * WIDTH, values);
    }
  }
}

template <typename REAL> INLINE void gather(const arguments &launch) {
  const u32 width = 16 / sizeof(REAL);
  const u64 source = launch.buffers[0] + launch.scalars[1].word * sizeof(REAL);
  if (launch.scalars[0].word % width == 0 && aligned(source, launch.buffers[2])) gatherRows<REAL, width>(launch);
  else gatherRows<REAL, 1>(launch);
}
