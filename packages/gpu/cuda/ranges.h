// The table of ranges that one launch goes over: see rangeFields in ../src/kernels/table.ts.
#pragma once
#include "device.h"

#define TILE 4096u

struct range {
  u32 firstTile, count, variable, accumulator, average, gradient, clip, rowSize;
};

// The last range whose first tile is not above `tile`.
INLINE GLOBAL const range *rangeOf(u64 ranges, u32 rangeCount, u32 tile) {
  GLOBAL const range *table = at<const range>(ranges);
  u32 low = 0, high = rangeCount;
  while (high - low > 1) {
    const u32 middle = low + (high - low) / 2;
    if (table[middle].firstTile <= tile) low = middle;
    else high = middle;
  }
  return table + low;
}

// Elements of a range from `first` on that belong to one tile.
INLINE u32 lengthOfTile(u32 count, u32 first) {
  if (first >= count) return 0;
  const u32 left = count - first;
  return left < TILE ? left : TILE;
}
