// Elementwise kernels: a block takes a tile at a time, in vectors of 16 bytes where the arrays are aligned.
#pragma once
#include "formulas.h"
#include "ranges.h"

template <typename REAL> struct adagrad {
  REAL rate, epsilon, m, c;
  u32 ema;
  clipping<REAL> clip;
};

// learningRate, epsilon, clipKind, momentum, complement, emaKind
template <typename REAL> INLINE adagrad<REAL> adagradOf(const arguments &launch, u32 slot) {
  const scalar *scalars = launch.scalars;
  return {(REAL)scalars[0].element,
          (REAL)scalars[1].element,
          (REAL)scalars[3].element,
          (REAL)scalars[4].element,
          (u32)scalars[5].word,
          clippingOf<REAL>((u32)scalars[2].word, launch.buffers[5], slot)};
}

// Elements from `first` to `last` of a tile, `WIDTH` at a time.
template <u32 WIDTH, typename REAL>
INLINE void densePart(GLOBAL REAL *__restrict w, GLOBAL REAL *__restrict s, GLOBAL REAL *__restrict e,
                      GLOBAL const REAL *__restrict gradient, u32 first, u32 last, const adagrad<REAL> &update) {
  const bool ema = update.ema != EMA_NONE, overwrite = update.ema == EMA_OVERWRITE;
  ROLLED for (u32 i = first + threadIndex() * WIDTH; i < last; i += threadsOfBlock() * WIDTH) {
    REAL g[WIDTH], variable[WIDTH], accumulator[WIDTH], average[WIDTH];
    load<WIDTH>(g, gradient + i);
    load<WIDTH>(accumulator, s + i);
    load<WIDTH>(variable, w + i);
    if (ema) load<WIDTH>(average, e + i);
    clipAll<WIDTH>(g, update.clip);
    UNROLL for (u32 j = 0; j < WIDTH; j++) {
      accumulator[j] = accumulator[j] + g[j] * g[j];
      variable[j] = stepped(variable[j], accumulator[j], g[j], update.rate, update.epsilon);
    }
    store<WIDTH>(s + i, accumulator);
    if (ema) {
      UNROLL for (u32 j = 0; j < WIDTH; j++) average[j] = averaged(average[j], variable[j], update.m, update.c);
      store<WIDTH>(e + i, average);
    }
    if (overwrite) store<WIDTH>(w + i, average);
    else store<WIDTH>(w + i, variable);
  }
}

template <typename REAL>
INLINE void denseTile(GLOBAL REAL *w, GLOBAL REAL *s, GLOBAL REAL *e, GLOBAL const REAL *g, u32 length,
                      const adagrad<REAL> &update) {
  const u32 width = 16 / sizeof(REAL);
  const bool vectors = aligned((u64)w, (u64)s, update.ema != EMA_NONE ? (u64)e : 0, (u64)g);
  const u32 whole = vectors ? length / width * width : 0;
  if (whole > 0) densePart<width>(w, s, e, g, 0, whole, update);
  if (whole < length) densePart<1>(w, s, e, g, whole, length, update);
}

// variable, accumulator, average, gradient, ranges, clips; learningRate, epsilon, clipKind, momentum, complement,
// emaKind, rangeCount
template <typename REAL> INLINE void adagradDense(const arguments &launch) {
  const u32 rangeCount = (u32)launch.scalars[6].word;
  for (u32 tile = blockIndex(); tile < launch.count; tile += blocksOfLaunch()) {
    const GLOBAL range &r = *rangeOf(launch.buffers[4], rangeCount, tile);
    const u32 first = (tile - r.firstTile) * TILE;
    denseTile(at<REAL>(launch.buffers[0]) + r.variable + first, at<REAL>(launch.buffers[1]) + r.accumulator + first,
              at<REAL>(launch.buffers[2]) + r.average + first, at<const REAL>(launch.buffers[3]) + r.gradient + first,
              lengthOfTile(r.count, first), adagradOf<REAL>(launch, r.clip));
  }
}

template <u32 WIDTH, typename REAL>
INLINE void emaPart(GLOBAL REAL *__restrict w, GLOBAL REAL *__restrict e, u32 first, u32 last, REAL m, REAL c,
                    bool overwrite) {
  ROLLED for (u32 i = first + threadIndex() * WIDTH; i < last; i += threadsOfBlock() * WIDTH) {
    REAL variable[WIDTH], average[WIDTH];
    load<WIDTH>(variable, w + i);
    load<WIDTH>(average, e + i);
    UNROLL for (u32 j = 0; j < WIDTH; j++) average[j] = averaged(average[j], variable[j], m, c);
    store<WIDTH>(e + i, average);
    if (overwrite) store<WIDTH>(w + i, average);
  }
}

// variable, average, ranges; momentum, complement, emaKind, rangeCount
template <typename REAL> INLINE void ema(const arguments &launch) {
  const REAL m = (REAL)launch.scalars[0].element, c = (REAL)launch.scalars[1].element;
  const bool overwrite = launch.scalars[2].word == EMA_OVERWRITE, update = launch.scalars[2].word != EMA_NONE;
  const u32 rangeCount = (u32)launch.scalars[3].word, width = 16 / sizeof(REAL);
  for (u32 tile = blockIndex(); update && tile < launch.count; tile += blocksOfLaunch()) {
    const GLOBAL range &r = *rangeOf(launch.buffers[2], rangeCount, tile);
    const u32 first = (tile - r.firstTile) * TILE, length = lengthOfTile(r.count, first);
    GLOBAL REAL *w = at<REAL>(launch.buffers[0]) + r.variable + first;
    GLOBAL REAL *e = at<REAL>(launch.buffers[1]) + r.average + first;
    const u32 whole = aligned((u64)w, (u64)e) ? length / width * width : 0;
    if (whole > 0) emaPart<width>(w, e, 0, whole, m, c, overwrite);
    if (whole < length) emaPart<1>(w, e, whole, length, m, c, overwrite);
  }
}

// target; value, offset, elements
template <typename REAL> INLINE void fill(const arguments &launch) {
  const REAL value = (REAL)launch.scalars[0].element;
  const u32 elements = (u32)launch.scalars[2].word;
  GLOBAL REAL *target = at<REAL>(launch.buffers[0]) + launch.scalars[1].word;
  for (u32 tile = blockIndex(); tile < launch.count; tile += blocksOfLaunch()) {
    const u64 first = (u64)tile * TILE;
    const u32 length = first < elements ? lengthOfTile(elements, (u32)first) : 0;
    ROLLED for (u32 i = threadIndex(); i < length; i += threadsOfBlock()) target[first + i] = value;
  }
}

// source, target; sourceOffset, targetOffset, elements
template <typename REAL> INLINE void copy(const arguments &launch) {
  const u32 elements = (u32)launch.scalars[2].word;
  GLOBAL const REAL *source = at<const REAL>(launch.buffers[0]) + launch.scalars[0].word;
  GLOBAL REAL *target = at<REAL>(launch.buffers[1]) + launch.scalars[1].word;
  for (u32 tile = blockIndex(); tile < launch.count; tile += blocksOfLaunch()) {
    const u64 first = (u64)tile * TILE;
    const u32 length = first < elements ? lengthOfTile(elements, (u32)first) : 0;
    ROLLED for (u32 i = threadIndex(); i < length; i += threadsOfBlock()) target[first + i] = source[first + i];
  }
}
