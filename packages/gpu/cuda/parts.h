// Tables that slices name, or pieces of them, and the rows that are named: see partFields in ../src/kernels/table.ts.
#pragma once
#include "device.h"

// Offsets of its arrays are in elements.
struct part {
  u32 firstSlice, firstKey, start, clip, variable, accumulator, values, average;
};

// What stands for a part before the groups: entries of its first group and after its last.
struct part_header {
  u32 first, end, none, clip, variable, accumulator, values, average;
};

// A row that slices name: its number, where its slices stand in the order, and the word that says what it has missed.
struct row_group {
  u32 row, first, end, behind;
};

// Groups that a header has the place of.
#define HEADER_ENTRIES (u32)(sizeof(part_header) / sizeof(row_group))
