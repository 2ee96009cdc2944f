// Rows named by slices: for each row its slices in list order. `order` has the numbers of the slices by row.
#pragma once
#include "formulas.h"
#include "lazy.h"
#include "parts.h"

// variable, accumulator, values, order, rowGroups, clips, average, factors; learningRate, epsilon, clipKind, perRow,
// rowSize, momentum, complement, emaKind, firstPart, partCount
template <typename REAL> struct table_update {
  GLOBAL REAL *variable, *accumulator;
  GLOBAL const REAL *values;
  GLOBAL const u32 *order;
  // Of the launch's parts.
  GLOBAL const part_header *headers;
  u32 parts;
  GLOBAL const words *groups;
  // Entries of the first group and after the last.
  u32 first, end;
  REAL rate, epsilon;
  u32 clipKind;
  u64 clips;
  bool perRow;
  u32 rowSize;
  lazy_table<REAL> lazy;

  INLINE_MEMBER u32 count() const { return end - first; }
};

template <typename REAL> INLINE table_update<REAL> tableOf(const arguments &launch) {
  const u64 *buffers = launch.buffers;
  const scalar *scalars = launch.scalars;
  GLOBAL const part_header *headers = at<const part_header>(buffers[4]) + scalars[8].word;
  const u32 parts = (u32)scalars[9].word;
  // A launch over nothing has no headers.
  const bool any = launch.count > 0;
  return {at<REAL>(buffers[0]),
          at<REAL>(buffers[1]),
          at<const REAL>(buffers[2]),
          at<const u32>(buffers[3]),
          headers,
          parts,
          at<const words>(buffers[4]),
          any ? headers[0].first : 0,
          any ? headers[parts - 1].end : 0,
          (REAL)scalars[0].element,
          (REAL)scalars[1].element,
          (u32)scalars[2].word,
          buffers[5],
          scalars[3].word != 0,
          (u32)scalars[4].word,
          {at<REAL>(buffers[6]), at<const REAL>(buffers[7]), (REAL)scalars[5].element, (REAL)scalars[6].element,
           (u32)scalars[7].word}};
}

// A row that slices name, and where its arrays are.
template <typename REAL> struct named_row {
  u32 first, end, behind;
  GLOBAL REAL *variable;
  // Of a table with one accumulator element a row, `accumulator` is that one.
  GLOBAL REAL *accumulator;
  // Of the table.
  GLOBAL const REAL *values;
  u64 average;
  clipping<REAL> clip;

  INLINE_MEMBER u32 slices() const { return end - first; }
};

INLINE row_group entryAt(GLOBAL const words *groups, u64 i) {
  const words group = groups[i];
  return {group[0], group[1], group[2], group[3]};
}

// The row of the launch's group `i`. `width`: accumulator elements of a row.
template <typename REAL> INLINE named_row<REAL> rowAt(const table_update<REAL> &t, u32 i, u32 width) {
  // The last part that does not begin after it; one without groups begins where the next one does.
  u32 low = 0, high = t.parts;
  while (high - low > 1) {
    const u32 middle = low + (high - low) / 2;
    if (t.headers[middle].first <= t.first + i) low = middle;
    else high = middle;
  }
  const GLOBAL part_header &p = t.headers[low];
  const row_group group = entryAt(t.groups, (u64)t.first + i);
  const u64 row = (u64)group.row * t.rowSize;
  return {group.first,
          group.end,
          group.behind,
          t.variable + p.variable + row,
          t.accumulator + p.accumulator + (u64)group.row * width,
          t.values + p.values,
          p.average + row,
          clippingOf<REAL>(t.clipKind, t.clips, p.clip)};
}

// Which threads of a block share a row: 2^shift of them, as many as it has columns, or a whole block.
INLINE u32 rowShift(u32 columns, u32 threads) {
  u32 shift = 0;
  while ((1u << shift) < columns && (2u << shift) <= threads) shift++;
  return shift;
}

// Slices whose elements are under way together; of float64 fewer, so that two blocks find their registers on a
// multiprocessor.
#define AHEAD (sizeof(REAL) == 8 ? 6 : 8)

// Rows of so many slices are a whole block's work; slices at hand at a time, in bytes, and columns.
#define HOT_SLICES 128
#define STAGE_BYTES 16384
#define STAGE_COLUMNS 64

template <typename REAL> INLINE bool isHot(const named_row<REAL> &row) { return row.slices() >= HOT_SLICES; }

// The sums of `WIDTH` neighbouring columns of a row: of the slices, and of their squares where each is squared.
template <typename REAL, u32 WIDTH> struct column_sums {
  REAL g[WIDTH], squares[WIDTH];
};

// Adds `COUNT` slices from position `k` of the order on, all loaded before the first is needed.
template <u32 COUNT, typename REAL, u32 WIDTH>
INLINE void addSlices(column_sums<REAL, WIDTH> &sums, const table_update<REAL> &t, const clipping<REAL> &clip,
                      GLOBAL const REAL *values, u32 k) {
  REAL slices[COUNT * WIDTH];
  UNROLL for (u32 i = 0; i < COUNT; i++) load<WIDTH>(slices + i * WIDTH, values + (u64)t.order[k + i] * t.rowSize);
  clipAll<COUNT * WIDTH>(slices, clip);
  UNROLL for (u32 i = 0; i < COUNT * WIDTH; i++) sums.g[i % WIDTH] = sums.g[i % WIDTH] + slices[i];
  if (t.perRow) return;
  UNROLL for (u32 i = 0; i < COUNT * WIDTH; i++)
    sums.squares[i % WIDTH] = sums.squares[i % WIDTH] + slices[i] * slices[i];
}

// A sum of slices starts from +0, so a slice of -0 counts as +0.
template <u32 WIDTH, typename REAL>
INLINE void updateColumns(const table_update<REAL> &t, const named_row<REAL> &row, u32 column) {
  GLOBAL REAL *w = row.variable + column;
  GLOBAL REAL *s = row.accumulator + column;
  GLOBAL const REAL *values = row.values + column;
  column_sums<REAL, WIDTH> sums;
  REAL variable[WIDTH], average[WIDTH];
  load<WIDTH>(sums.squares, s);
  load<WIDTH>(variable, w);
  loadCaughtUp<WIDTH>(variable, average, t.lazy, row.behind, row.average + column);
  UNROLL for (u32 j = 0; j < WIDTH; j++) sums.g[j] = 0;
  u32 k = row.first;
  ROLLED for (; k + AHEAD <= row.end; k += AHEAD) addSlices<AHEAD>(sums, t, row.clip, values, k);
  ROLLED for (; k < row.end; k++) addSlices<1>(sums, t, row.clip, values, k);
  UNROLL for (u32 j = 0; j < WIDTH; j++) {
    if (t.perRow) sums.squares[j] = sums.squares[j] + sums.g[j] * sums.g[j];
    variable[j] = stepped(variable[j], sums.squares[j], sums.g[j], t.rate, t.epsilon);
  }
  store<WIDTH>(s, sums.squares);
  storeAveraged<WIDTH>(variable, average, t.lazy, row.average + column);
  store<WIDTH>(w, variable);
}

// One element of a row, whose accumulator is known.
template <typename REAL>
INLINE void updateElement(const table_update<REAL> &t, const named_row<REAL> &row, u32 column, REAL g, REAL root) {
  REAL w = row.variable[column], e;
  loadCaughtUp<1>(&w, &e, t.lazy, row.behind, row.average + column);
  w = w - (t.rate * g) / root;
  storeAveraged<1>(&w, &e, t.lazy, row.average + column);
  row.variable[column] = w;
}

// The same for a row of many slices, by a whole block: the columns from `first` on. Slices are added one after another,
// whatever their number, so what can be had at the same time is their coming: a block has many of them at hand, from
// where one thread a column adds them up. `squares` is not written where slices are summed before.
template <typename REAL>
INLINE void stagedSums(const table_update<REAL> &t, const named_row<REAL> &row, u32 first, ON_CHIP REAL *g,
                       ON_CHIP REAL *squares) {
  const u32 room = STAGE_BYTES / sizeof(REAL), batch = 8;
  SHARED REAL stage[STAGE_BYTES / sizeof(REAL)];
  const u32 columns = t.rowSize - first < STAGE_COLUMNS ? t.rowSize - first : STAGE_COLUMNS;
  for (u32 k = row.first; k < row.end; k += room / STAGE_COLUMNS) {
    const u32 left = row.end - k, slices = left < room / STAGE_COLUMNS ? left : room / STAGE_COLUMNS;
    const u32 elements = slices * STAGE_COLUMNS, threads = threadsOfBlock();
    EACH_THREAD(
      ROLLED for (u32 i = threadIndex(); i < elements; i += batch * threads) {
        REAL values[batch];
        UNROLL for (u32 j = 0; j < batch; j++) {
          const u32 at = i + j * threads, column = at % STAGE_COLUMNS;
          const bool is = at < elements && column < columns;
          values[j] = is ? row.values[(u64)t.order[k + at / STAGE_COLUMNS] * t.rowSize + first + column] : 0;
        }
        clipAll<batch>(values, row.clip);
        UNROLL for (u32 j = 0; j < batch; j++) {
          if (i + j * threads < elements) stage[i + j * threads] = values[j];
        }
      }
    )
    EACH_THREAD(
      const u32 column = threadIndex();
      if (column < columns) {
        REAL sum = g[column], square = squares[column];
        for (u32 i = column; i < elements; i += STAGE_COLUMNS) {
          sum = sum + stage[i];
          if (!t.perRow) square = square + stage[i] * stage[i];
        }
        g[column] = sum;
        if (!t.perRow) squares[column] = square;
      }
    )
  }
}

template <typename REAL> INLINE void updateHotRow(const table_update<REAL> &t, const named_row<REAL> &row) {
  SHARED REAL g[STAGE_COLUMNS], squares[STAGE_COLUMNS];
  for (u32 first = 0; first < t.rowSize; first += STAGE_COLUMNS) {
    EACH_THREAD(
      const u32 i = threadIndex();
      if (i < STAGE_COLUMNS) {
        g[i] = 0;
        squares[i] = first + i < t.rowSize ? row.accumulator[first + i] : 0;
      }
    )
    stagedSums(t, row, first, g, squares);
    EACH_THREAD(
      const u32 i = threadIndex();
      if (i < STAGE_COLUMNS && first + i < t.rowSize) {
        const REAL sum = t.perRow ? squares[i] + g[i] * g[i] : squares[i];
        row.accumulator[first + i] = sum;
        updateElement(t, row, first + i, (REAL)g[i], squareRoot(sum + t.epsilon));
      }
    )
  }
}

template <u32 WIDTH, typename REAL> INLINE void updateRows(const table_update<REAL> &t) {
  // Whether a row of the block has many slices. Set between two barriers, looked at after the second; who is ahead sets
  // it back only to what it is, or after barriers that wait for all.
  SHARED u32 anyHot;
  const u32 vectors = t.rowSize / WIDTH, shift = rowShift(vectors, threadsOfBlock());
  const u32 rowsOfBlock = threadsOfBlock() >> shift, count = t.count();
  for (u64 base = (u64)blockIndex() * rowsOfBlock; base < count; base += (u64)blocksOfLaunch() * rowsOfBlock) {
    EACH_THREAD(if (threadIndex() == 0) anyHot = 0;)
    EACH_THREAD(
      const u64 i = base + (threadIndex() >> shift);
      if (i < count) {
        const named_row<REAL> row = rowAt(t, (u32)i, t.rowSize);
        if (isHot(row)) anyHot = 1;
        else {
          const u32 step = 1u << shift;
          ROLLED for (u32 v = threadIndex() & (step - 1); v < vectors; v += step) updateColumns<WIDTH>(t, row, v * WIDTH);
        }
      }
    )
    const bool hot = anyHot != 0;
    for (u32 i = 0; hot && i < rowsOfBlock && base + i < count; i++) {
      const named_row<REAL> row = rowAt(t, (u32)base + i, t.rowSize);
      if (isHot(row)) updateHotRow(t, row);
    }
  }
}

template <typename REAL> INLINE void adagradRows(const arguments &launch) {
  const table_update<REAL> t = tableOf<REAL>(launch);
  const u32 width = 16 / sizeof(REAL);
  const u64 average = t.lazy.ema != EMA_NONE ? (u64)t.lazy.average : 0;
  // The offsets of parts are whole vectors.
  if (t.rowSize % width == 0 && aligned((u64)t.variable, (u64)t.accumulator, (u64)t.values, average))
    updateRows<width>(t);
  else updateRows<1>(t);
}

// variable, average, behind, factors; rowSize, variableOffset, averageOffset
template <u32 WIDTH, typename REAL> INLINE void catchUpRows(const arguments &launch) {
  GLOBAL REAL *variable = at<REAL>(launch.buffers[0]) + launch.scalars[1].word;
  const lazy_table<REAL> lazy = {at<REAL>(launch.buffers[1]) + launch.scalars[2].word,
                                 at<const REAL>(launch.buffers[3]), 0, 0, EMA_UPDATE};
  GLOBAL const u32 *behind = at<const u32>(launch.buffers[2]);
  const u32 rowSize = (u32)launch.scalars[0].word, vectors = rowSize / WIDTH;
  const u32 shift = rowShift(vectors, threadsOfBlock());
  const u32 rowsOfBlock = threadsOfBlock() >> shift, lane = threadIndex() & ((1u << shift) - 1);
  for (u64 i = (u64)blockIndex() * rowsOfBlock + (threadIndex() >> shift); i < launch.count;
       i += (u64)blocksOfLaunch() * rowsOfBlock) {
    const u32 word = behind[i];
    if (word == 0) continue;
    ROLLED for (u32 v = lane; v < vectors; v += 1u << shift) {
      const u64 first = i * rowSize + v * WIDTH;
      REAL w[WIDTH], e[WIDTH];
      load<WIDTH>(w, variable + first);
      loadCaughtUp<WIDTH>(w, e, lazy, word, first);
      store<WIDTH>(lazy.average + first, e);
      if (isOverwriteDue(word)) store<WIDTH>(variable + first, w);
    }
  }
}

template <typename REAL> INLINE void catchUp(const arguments &launch) {
  const u32 width = 16 / sizeof(REAL);
  const u64 variable = launch.buffers[0] + launch.scalars[1].word * sizeof(REAL);
  const u64 average = launch.buffers[1] + launch.scalars[2].word * sizeof(REAL);
  if (launch.scalars[0].word % width == 0 && aligned(variable, average)) catchUpRows<width, REAL>(launch);
  else catchUpRows<1, REAL>(launch);
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
