// Runs launches on the CPU: the kernel sources of packages/gpu/cuda, compiled without contraction of multiply and add.
#pragma once
#include <cstdint>
#include <cstring>

#include "../../../packages/gpu/cuda/kernels.cu"

// What a kernel's body is: one thread, one octet of threads, or a whole block.
enum body { THREAD, OCTET, BLOCK };

struct kernel {
  const char *name;
  body runs;
  void (*function)(const arguments &);
};

#define KERNELS_OF(runs, name) {#name "F32", runs, name##F32}, {#name "F64", runs, name##F64},

static const kernel kernels[] = {
    KERNELS_OF(THREAD, adagradDense) KERNELS_OF(THREAD, ema) KERNELS_OF(THREAD, fill) KERNELS_OF(THREAD, copy)
    KERNELS_OF(THREAD, gather) KERNELS_OF(THREAD, catchUp) KERNELS_OF(OCTET, sumSquares)
    KERNELS_OF(OCTET, rowwiseDense) KERNELS_OF(BLOCK, adagradRows) KERNELS_OF(BLOCK, rowwiseRows)
    KERNELS_OF(BLOCK, clipScalars) {"countDigits", BLOCK, countDigits}, {"sortPass", BLOCK, sortPass},
    {"countRows", BLOCK, countRows}, {"writeGroups", BLOCK, writeGroups}, {"groupSlices", BLOCK, groupSlices}};

// Blocks and threads in the order of `seed`: no kernel may depend on it.
static void emulate(const kernel &k, const arguments &launch, u32 blocks, u32 threads, u32 seed) {
  const bool reverseBlocks = seed & 1, reverseThreads = seed & 2;
  const u32 step = k.runs == THREAD ? 1 : k.runs == OCTET ? 8 : threads;
  for (u32 b = 0; b < blocks; b++) {
    for (u32 t = 0; t < threads; t += step) {
      place = {reverseThreads ? threads - step - t : t, threads, reverseBlocks ? blocks - 1 - b : b, blocks};
      k.function(launch);
    }
  }
}
