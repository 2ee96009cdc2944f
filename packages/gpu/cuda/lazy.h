// Averages of a table that are brought up to date when a row is touched: see packages/workers/src/plan/lazy-block.ts. The
// host computes the factors of what a row has missed; the word of a row says which are its own.
#pragma once
#include "formulas.h"

template <typename REAL> struct lazy_table {
  GLOBAL REAL *average;
  // p and q, in pairs.
  GLOBAL const REAL *factors;
  REAL m, c;
  // EMA_NONE: the table is not kept lazily, and the rest means nothing.
  u32 ema;
};

INLINE bool isOverwriteDue(u32 word) { return word >> 31 != 0; }

// Loads the averages of `WIDTH` elements from `at` on, and does to variable and average what their row has missed.
template <u32 WIDTH, typename REAL>
INLINE void loadCaughtUp(REAL *variable, REAL *average, const lazy_table<REAL> &lazy, u32 word, u64 at) {
  if (lazy.ema == EMA_NONE) return;
  load<WIDTH>(average, lazy.average + at);
  const u64 number = word & 0x7fffffffu;
  if (number == 0) return;
  const REAL p = lazy.factors[2 * number], q = lazy.factors[2 * number + 1];
  UNROLL for (u32 j = 0; j < WIDTH; j++) {
    average[j] = averaged(average[j], variable[j], p, q);
    if (isOverwriteDue(word)) variable[j] = average[j];
  }
}

// The average of the running step, of elements that it has updated.
template <u32 WIDTH, typename REAL>
INLINE void storeAveraged(REAL *variable, REAL *average, const lazy_table<REAL> &lazy, u64 at) {
  if (lazy.ema == EMA_NONE) return;
  UNROLL for (u32 j = 0; j < WIDTH; j++) {
    average[j] = averaged(average[j], variable[j], lazy.m, lazy.c);
    if (lazy.ema == EMA_OVERWRITE) variable[j] = average[j];
  }
  store<WIDTH>(lazy.average + at, average);
}
