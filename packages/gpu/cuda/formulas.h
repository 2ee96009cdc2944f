// The element formulas. Each operation rounds by itself, in this order: that is part of the results.
#pragma once
#include "device.h"

// As clipKinds and emaKinds of ../src/kernels/table.ts.
enum clip_kind { CLIP_NONE, CLIP_SCALE, CLIP_NORM, CLIP_VALUE };
enum ema_kind { EMA_NONE, EMA_UPDATE, EMA_OVERWRITE };

template <typename REAL> struct clipping {
  u32 kind;
  REAL a, b;
};

// Clip slot `slot` of `clips`; not read where nothing is clipped.
template <typename REAL> INLINE clipping<REAL> clippingOf(u32 kind, u64 clips, u32 slot) {
  clipping<REAL> clip = {kind, 0, 0};
  if (kind != CLIP_NONE) {
    clip.a = at<const REAL>(clips)[(u64)slot * 4];
    clip.b = at<const REAL>(clips)[(u64)slot * 4 + 1];
  }
  return clip;
}

// Clips `N` elements in place: one decision for all. A NaN stays a NaN when values are limited: comparisons with it are
// false.
template <u32 N, typename REAL> INLINE void clipAll(REAL *g, const clipping<REAL> &clip) {
  if (clip.kind == CLIP_NONE) return;
  const REAL a = clip.a, b = clip.b;
  if (clip.kind == CLIP_SCALE) {
    UNROLL for (u32 j = 0; j < N; j++) g[j] = g[j] * a;
  } else if (clip.kind == CLIP_NORM) {
    UNROLL for (u32 j = 0; j < N; j++) g[j] = (g[j] * a) / b;
  } else {
    UNROLL for (u32 j = 0; j < N; j++) {
      const REAL below = a < g[j] ? a : g[j];
      g[j] = below < -a ? -a : below;
    }
  }
}

template <typename REAL> INLINE REAL clipped(REAL g, const clipping<REAL> &clip) {
  clipAll<1>(&g, clip);
  return g;
}

template <typename REAL> INLINE REAL stepped(REAL w, REAL accumulator, REAL g, REAL rate, REAL epsilon) {
  return w - (rate * g) / squareRoot(accumulator + epsilon);
}

template <typename REAL> INLINE REAL averaged(REAL average, REAL w, REAL m, REAL c) { return m * average + c * w; }
