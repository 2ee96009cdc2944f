// All kernels, those on elements for float32 and float64; compiled to PTX by ../scripts/build-ptx.mjs and for the CPU by emulate.cpp.
#include "dense.h"
#include "groups.h"
#include "lazy.h"
#include "norms.h"
#include "rows.h"
#include "rowwise.h"

#define BOTH(name) \
  KERNEL(name##F32) { name<float>(launch); } \
  KERNEL(name##F64) { name<double>(launch); }

BOTH(adagradDense)
BOTH(rowwiseDense)
BOTH(adagradRows)
BOTH(rowwiseRows)
BOTH(sumSquares)
BOTH(clipScalars)
BOTH(ema)
BOTH(catchUp)
BOTH(gather)
BOTH(fill)
BOTH(copy)

KERNEL(countDigits) { countDigitsOf(launch); }
KERNEL(sortPass) { sortPassOf(launch); }
KERNEL(countRows) { countRowsOf(launch); }
KERNEL(writeGroups) { writeGroupsOf(launch); }
KERNEL(groupSlices) { groupSlicesOf(launch); }
