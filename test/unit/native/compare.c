/* Runs every kernel of two sets over the same random cases, and compares all memory bit for bit. Built with sanitizers:
 * arrays lie apart, what is between them is poisoned, and indices, values and scratch lie below the memory, where their
 * offsets are negative. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"
#if defined(__SANITIZE_ADDRESS__) || defined(__has_feature)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

extern const kernel_set kernels_wide;

static uint64_t state = 88172645463325252ull;

static uint64_t random64(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static size_t below(size_t limit) { return (size_t)(random64() % limit); }

/* Two arenas of the same layout, one for each set; half of each is below its memory. */
enum { ARENA = 1 << 20, BELOW = 1 << 19, GAP = 256, ARRAYS = 16 };
typedef struct {
  size_t at, bytes;
} array;
static uint8_t *arenas[2];
static array arrays[ARRAYS];
static size_t count, low, high;

static void clear(void) {
  for (int k = 0; k < 2; k++) ASAN_POISON_MEMORY_REGION(arenas[k], ARENA);
  count = 0;
  low = GAP;
  high = BELOW + GAP;
}

/* An array of random numbers of one size, or of small integers where `size` is 0; its offset from the memory. */
static double make(size_t bytes, size_t size, int isBelow) {
  size_t *next = isBelow ? &low : &high;
  const array made = {*next, bytes};
  arrays[count++] = made;
  *next += (bytes + 63) / 64 * 64 + GAP;
  if (count > ARRAYS || low > BELOW || high > ARENA) abort();
  for (int k = 0; k < 2; k++) ASAN_UNPOISON_MEMORY_REGION(arenas[k] + made.at, bytes);
  uint8_t *to = arenas[0] + made.at;
  for (size_t i = 0; size > 0 && i < bytes / size; i++) {
    /* Some zeros of both signs, some numbers that overflow when they are squared, many of usual size. */
    const double special[] = {0.0, -0.0, 1e30, 1e-40, 3.5};
    const double value = below(20) == 0 ? special[below(5)] : (double)(int64_t)random64() / 9.3e18;
    if (size == 4) ((float *)to)[i] = (float)value;
    else ((double *)to)[i] = value;
  }
  if (size == 0) memset(to, 0, bytes);
  memcpy(arenas[1] + made.at, to, bytes);
  return (double)made.at - BELOW;
}

/* Accumulators are sums of squares. */
static double makePositive(size_t bytes, size_t size) {
  const double offset = make(bytes, size, 0);
  for (int k = 0; k < 2; k++) {
    uint8_t *to = arenas[k] + BELOW + (size_t)offset;
    for (size_t i = 0; i < bytes; i += size) to[i + size - 1] &= 0x7f;
  }
  return offset;
}

static double word(double offset, size_t i, uint32_t value) {
  for (int k = 0; k < 2; k++) ((uint32_t *)(arenas[k] + BELOW + (ptrdiff_t)offset))[i] = value;
  return offset;
}

static int isNan(const uint8_t *at, size_t size) {
  if (size == 4) return *(const float *)at != *(const float *)at;
  return *(const double *)at != *(const double *)at;
}

static void run(const char *name, const double *arguments, size_t size) {
  for (size_t k = 0; k < kernels_baseline.count; k++) {
    if (strcmp(kernels_baseline.kernels[k].name, name) != 0) continue;
    kernels_baseline.kernels[k].function(arenas[0] + BELOW, arguments);
    kernels_wide.kernels[k].function(arenas[1] + BELOW, arguments);
    for (size_t a = 0; a < count; a++) {
      const uint8_t *one = arenas[0] + arrays[a].at, *other = arenas[1] + arrays[a].at;
      for (size_t i = 0; i + size <= arrays[a].bytes; i += size) {
        if (memcmp(one + i, other + i, size) == 0 || (isNan(one + i, size) && isNan(other + i, size))) continue;
        fprintf(stderr, "%s: array %zu differs at %zu\n", name, a, i / size);
        exit(1);
      }
    }
    return;
  }
  fprintf(stderr, "%s is missing\n", name);
  exit(1);
}

static const size_t lengths[] = {0, 1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 130, 200};

static size_t length(void) { return lengths[below(sizeof lengths / sizeof *lengths)]; }

static const char *named(const char *kernel, size_t size) {
  static char name[32];
  snprintf(name, sizeof name, "%s%s", kernel, size == 4 ? "F32" : "F64");
  return name;
}

/* As ownedRows of rows.inc takes them. */
static void rows(int rowwise, size_t size) {
  const size_t all = 1 + below(40), rowSize = length(), slices = below(2) ? below(20) : below(150);
  const int part = below(3) == 0;
  const uint32_t lanes = 1 + (uint32_t)below(3), mask = 15, firstRow = part ? 5 : 0;
  clear();
  double a[22] = {0};
  a[0] = make(all * rowSize * size, size, 0);
  a[1] = makePositive(all * (rowwise ? 1 : rowSize) * size, size);
  a[2] = (double)rowSize;
  a[3] = make(slices * 4, 0, 1);
  for (size_t i = 0; i < slices; i++) word(a[3], i, (uint32_t)below(all + 2 * firstRow));
  for (size_t i = 0; !part && i < slices; i++) word(a[3], i, (uint32_t)below(all));
  a[4] = make(slices * rowSize * size, size, 1);
  a[5] = (double)slices;
  a[6] = (double)below(lanes);
  a[7] = lanes;
  a[8] = 1;
  a[9] = make(64 + 8192 + 16 * slices + 64, 0, 1);
  a[10] = 0.1;
  a[11] = 1e-7;
  a[12] = (double)below(4);
  a[13] = 0.25;
  a[14] = 1.5;
  a[15] = (double)below(2);
  a[16] = below(2) ? make(4 * (mask + 1), 0, 0) : 0;
  a[17] = mask;
  a[20] = firstRow;
  a[21] = part ? (double)all : 0;
  run(named(rowwise ? "rowwiseRows" : "adagradRows", size), a, size);
}

static void elements(size_t size) {
  const size_t n = length() + 64 * below(40);
  const double ema = (double)below(3), clip = (double)below(4);
  clear();
  const double w = make(n * size, size, 0), s = makePositive(n * size, size);
  const double e = make(n * size, size, 0), g = make(n * size, size, 0);
  const double dense[22] = {w, s, e, g, (double)n, 0.1, 1e-7, clip, 0.25, 1.5, 0.9, 1 - 0.9, ema};
  run(named("adagradDense", size), dense, size);
  const double clipped[22] = {g, (double)n, clip, 0.25, 1.5};
  run(named("clip", size), clipped, size);
  const double averaged[22] = {w, e, (double)n, 0.9, 1 - 0.9, 1 + (double)below(2)};
  run(named("ema", size), averaged, size);
  const double squares[22] = {g, (double)n, make(8 * (n / 4096 + 1), 8, 0)};
  run(named("sumSquares", size), squares, size);
}

static void rowwiseRowsOfAll(size_t size) {
  const size_t all = 1 + below(20), rowSize = 1 + length();
  clear();
  const double w = make(all * rowSize * size, size, 0), s = makePositive(all * size, size);
  const double e = make(all * rowSize * size, size, 0), g = make(all * rowSize * size, size, 0);
  const double clip = (double)below(4), ema = (double)below(3);
  const double a[22] = {w,    s,    e,   g,   (double)all, (double)rowSize, 0.1, 1e-7, clip,
                        0.25, 1.5, 0.9, 1 - 0.9, ema};
  run(named("rowwiseDense", size), a, size);
}

int main(void) {
  for (int k = 0; k < 2; k++) arenas[k] = aligned_alloc(4096, ARENA);
  for (int i = 0; i < 1000; i++) {
    for (size_t size = 4; size <= 8; size += 4) {
      rows(0, size);
      rows(1, size);
      elements(size);
      rowwiseRowsOfAll(size);
    }
  }
  printf("the same bits\n");
  return 0;
}
