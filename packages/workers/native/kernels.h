/* The native kernels: the same operations, arguments and bits as kernels.wasm (see ../assembly), compiled several times
 * for the instruction sets of one processor family. Which one runs is decided when the library is loaded. */
#ifndef SHARDGRAD_KERNELS_H
#define SHARDGRAD_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* `memory` is the address of a WebAssembly memory. The arguments are numbers as an encoded program holds them: offsets
 * into that memory, counts of elements, and scalars. */
typedef void (*kernel_function)(uint8_t *memory, const double *arguments);

typedef struct {
  const char *name; /* the name of the WebAssembly export that it stands in for */
  kernel_function function;
} kernel;

typedef struct {
  const char *instructions;
  const kernel *kernels;
  size_t count;
} kernel_set;

extern const kernel_set kernels_baseline;
#if defined(__x86_64__)
extern const kernel_set kernels_avx2;
extern const kernel_set kernels_avx512;
#endif

/* As ../assembly/formulas.ts. */
enum clip_kind { CLIP_NONE, CLIP_SCALE, CLIP_NORM, CLIP_VALUE };
enum ema_kind { EMA_NONE, EMA_UPDATE, EMA_OVERWRITE };

#define INLINE static inline __attribute__((always_inline))

#endif
