/* All kernels of one instruction set; INSTRUCTIONS names it. Compiled without contraction of multiply and add and
 * without any relaxed arithmetic: each operation rounds by itself, which is what makes the bits those of the other
 * kernels. The compiler vectorises the loops; IEEE division and square root are exact at every vector width. */
#include "kernels.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#include "entries.inc"
#include "versions.inc"
#include "lazy-block.inc"

#if defined(VECTOR_BYTES)
/* By a test: the code for wide registers, on a processor that has none. */
#elif defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Eight columns of float64 squares are kept in as many vectors as it takes. */
#define PART_WIDTH (VECTOR_BYTES / 8)
#define PARTS (64 / VECTOR_BYTES)

#define REAL float
#define BITS int32_t
#define SQRT __builtin_sqrtf
#define NAMED(name) JOIN(name, F32)
#include "elementwise.inc"
#include "norms.inc"
#include "vectors.inc"
#include "rowwise.inc"
#include "lazy.inc"
#include "rows.inc"
#undef REAL
#undef BITS
#undef SQRT
#undef NAMED

#define REAL double
#define BITS int64_t
#define SQRT __builtin_sqrt
#define NAMED(name) JOIN(name, F64)
#include "elementwise.inc"
#include "norms.inc"
#include "vectors.inc"
#include "rowwise.inc"
#include "lazy.inc"
#include "rows.inc"
#undef REAL
#undef BITS
#undef SQRT
#undef NAMED

static const kernel table[] = {
    {"adagradDenseF32", adagradDenseF32}, {"adagradDenseF64", adagradDenseF64},
    {"adagradRowsF32", adagradRowsF32},   {"adagradRowsF64", adagradRowsF64},
    {"rowwiseDenseF32", rowwiseDenseF32}, {"rowwiseDenseF64", rowwiseDenseF64},
    {"rowwiseRowsF32", rowwiseRowsF32},   {"rowwiseRowsF64", rowwiseRowsF64},
    {"sumSquaresF32", sumSquaresF32},     {"sumSquaresF64", sumSquaresF64},
    {"clipF32", clipF32},                 {"clipF64", clipF64},
    {"emaF32", emaF32},                   {"emaF64", emaF64},
    {"catchUpF32", catchUpF32},           {"catchUpF64", catchUpF64},
};

const kernel_set JOIN(kernels_, INSTRUCTIONS) = {TEXT(INSTRUCTIONS), table, sizeof table / sizeof *table};
