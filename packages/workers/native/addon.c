/* The Node-API face of the native kernels. It keeps no state: one library serves all threads and runtimes. */
#include <node_api.h>

#include "kernels.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* The sets that this processor can run, best first. */
static size_t supported(const kernel_set *sets[3]) {
  size_t count = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw")) {
    sets[count++] = &kernels_avx512;
  }
  if (__builtin_cpu_supports("avx2")) sets[count++] = &kernels_avx2;
#endif
  sets[count++] = &kernels_baseline;
  return count;
}

static napi_value fail(napi_env env, const char *message) {
  napi_throw_type_error(env, NULL, message);
  return NULL;
}

/* Address of the first element of a typed array, whatever its type. */
static int view(napi_env env, napi_value value, uint8_t **address, size_t *length) {
  void *data = NULL;
  if (napi_get_typedarray_info(env, value, NULL, length, &data, NULL, NULL) != napi_ok) return 0;
  *address = data;
  return 1;
}

static int number(napi_env env, napi_value value, double *result) {
  return napi_get_value_double(env, value, result) == napi_ok;
}

/* addressOf(view: Uint8Array): number. A WebAssembly memory that is shared never moves; the caller keeps it alive. */
static napi_value addressOf(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  size_t count = 1, length;
  uint8_t *address;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (count < 1 || !view(env, argument, &address, &length)) return fail(env, "addressOf: expected a typed array");
  /* User addresses have at most 57 bits, but a double holds 53: x86-64 and arm64 give out 48 unless asked. */
  if ((uintptr_t)address >> 53 != 0) return fail(env, "addressOf: the address is too large for a number");
  napi_create_double(env, (double)(uintptr_t)address, &result);
  return result;
}

/* run(kernel: number, address: number, program: Float64Array, at: number): runs one record; its arguments start at
 * program[at]. */
static napi_value run(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  size_t count = 4, length;
  double index, address, at;
  uint8_t *program;
  void *chosen;
  napi_get_cb_info(env, info, &count, arguments, NULL, &chosen);
  if (count < 4 || !number(env, arguments[0], &index) || !number(env, arguments[1], &address) ||
      !view(env, arguments[2], &program, &length) || !number(env, arguments[3], &at)) {
    return fail(env, "run: expected a kernel, an address, a program and a position");
  }
  const kernel_set *set = chosen;
  if (!(index >= 0 && index < (double)set->count) || !(at >= 0 && at + 22 <= (double)length)) {
    return fail(env, "run: no such kernel or position");
  }
  set->kernels[(size_t)index].function((uint8_t *)(uintptr_t)address, (const double *)program + (size_t)at);
  return NULL;
}

/* adviseHugePages(address: number, bytes: number): boolean. Large pages, where the system has them, save most of the
 * address translation that random rows cost. Advice only: memory that nobody touches stays unused. */
static napi_value adviseHugePages(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result;
  size_t count = 2;
  double address, bytes;
  int done = 0;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (count < 2 || !number(env, arguments[0], &address) || !number(env, arguments[1], &bytes)) {
    return fail(env, "adviseHugePages: expected an address and a number of bytes");
  }
#if defined(__linux__)
  done = madvise((void *)(uintptr_t)address, (size_t)bytes, MADV_HUGEPAGE) == 0;
#endif
  napi_get_boolean(env, done != 0, &result);
  return result;
}

/* giveWay(): boolean. The calling thread asks the scheduler for long slices, its share of the processor staying the
 * same. On Linux 6.12 and later a thread that wakes up with a shorter slice then takes over at once, where otherwise it
 * waits some milliseconds for its turn: the event loop's thread, when all processors are computing. */
static napi_value giveWay(napi_env env, napi_callback_info info) {
  napi_value result;
  int done = 0;
  (void)info;
#if defined(SYS_sched_setattr)
  /* struct sched_attr of the kernel; older C libraries do not declare it. */
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes;
  /* Nanoseconds. Longer than the usual 3 ms, and short enough that a busy machine's other threads do not run for long
   * when it is their turn to catch up. */
  const uint64_t slice = 10000000;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0 && attributes.policy == 0) {
    attributes.runtime = slice;
    done = syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
  }
#endif
  napi_get_boolean(env, done != 0, &result);
  return result;
}

static void method(napi_env env, napi_value object, const char *name, napi_callback callback, const kernel_set *set) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, (void *)set, &function);
  napi_set_named_property(env, object, name, function);
}

/* { instructions, kernels: names by their number, run } */
static napi_value describe(napi_env env, const kernel_set *set) {
  napi_value object, instructions, names, name;
  napi_create_object(env, &object);
  napi_create_string_utf8(env, set->instructions, NAPI_AUTO_LENGTH, &instructions);
  napi_set_named_property(env, object, "instructions", instructions);
  napi_create_array_with_length(env, set->count, &names);
  for (size_t i = 0; i < set->count; i++) {
    napi_create_string_utf8(env, set->kernels[i].name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, names, (uint32_t)i, name);
  }
  napi_set_named_property(env, object, "kernels", names);
  method(env, object, "run", run, set);
  return object;
}

NAPI_MODULE_INIT() {
  const kernel_set *sets[3];
  const size_t count = supported(sets);
  napi_value list;
  napi_create_array_with_length(env, count, &list);
  for (size_t i = 0; i < count; i++) napi_set_element(env, list, (uint32_t)i, describe(env, sets[i]));
  napi_set_named_property(env, exports, "sets", list);
  method(env, exports, "addressOf", addressOf, NULL);
  method(env, exports, "adviseHugePages", adviseHugePages, NULL);
  method(env, exports, "giveWay", giveWay, NULL);
  return exports;
}
