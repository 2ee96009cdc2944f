// A driver's library that does nothing, at once: what is left of a step's time is the host's. Memory is numbers, copies
// move nothing, kernels do not run. An event is reached when it is asked after for the second time, so that the event
// loop turns between a launch and its end. Compiling takes NULL_DRIVER_COMPILE_MS, as a driver's compiler does.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define API __attribute__((visibility("default")))
typedef unsigned long long word;
enum { NOT_READY = 600 };

static word next = 1ull << 32;
static word take(word bytes) {
  const word at = next;
  next += (bytes + 255) & ~255ull;
  return at;
}
static int give(word *handle, word value) {
  *handle = value;
  return 0;
}

API int cuInit(unsigned flags) { return 0; }
API int cuDriverGetVersion(int *version) { return *version = 12040, 0; }
API int cuGetErrorString(int result, const char **text) { return *text = "unknown", 0; }
API int cuDeviceGetCount(int *count) { return *count = 1, 0; }
API int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }
API int cuDeviceGetName(char *name, int length, int device) {
  strncpy(name, "Device that does nothing", length);
  return 0;
}
API int cuDeviceGetAttribute(int *value, int attribute, int device) { return *value = attribute == 75 ? 9 : 0, 0; }
API int cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = (size_t)1 << 36, 0; }
API int cuDevicePrimaryCtxRetain(word *context, int device) { return give(context, 77); }
API int cuDevicePrimaryCtxRelease(int device) { return 0; }
API int cuCtxSetCurrent(word context) { return 0; }
API int cuModuleLoadDataEx(word *module, const char *image, unsigned count, const int *options, void **values) {
  const char *told = getenv("NULL_DRIVER_COMPILE_MS");
  const long milliseconds = told == NULL ? 0 : atol(told);
  const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
  return give(module, 1);
}
API int cuModuleUnload(word module) { return 0; }
API int cuModuleGetFunction(word *function, word module, const char *name) { return give(function, 1); }
API int cuMemGetInfo_v2(size_t *free, size_t *total) { return *free = *total = (size_t)1 << 36, 0; }
API int cuMemAlloc_v2(word *address, size_t bytes) { return give(address, take(bytes)); }
API int cuMemFree_v2(word address) { return 0; }
API int cuMemHostRegister_v2(word address, size_t bytes, unsigned flags) { return 0; }
API int cuMemHostUnregister(word address) { return 0; }
API int cuMemcpyHtoDAsync_v2(word to, const void *from, size_t bytes, word stream) { return 0; }
API int cuMemcpyDtoHAsync_v2(void *to, word from, size_t bytes, word stream) { return 0; }
API int cuMemcpyDtoDAsync_v2(word to, word from, size_t bytes, word stream) { return 0; }
API int cuMemsetD8Async(word to, unsigned char value, size_t bytes, word stream) { return 0; }
API int cuStreamCreate(word *stream, unsigned flags) { return give(stream, take(1)); }
API int cuStreamDestroy_v2(word stream) { return 0; }
API int cuStreamWaitEvent(word stream, word event, unsigned flags) { return 0; }
API int cuEventCreate(word *event, unsigned flags) { return give(event, (word)calloc(1, sizeof(int))); }
API int cuEventDestroy_v2(word event) { return free((void *)event), 0; }
API int cuEventRecord(word event, word stream) { return *(int *)event = 1, 0; }
API int cuEventQuery(word event) {
  const int asked = *(int *)event;
  *(int *)event = 0;
  return asked ? NOT_READY : 0;
}
API int cuEventSynchronize(word event) { return *(int *)event = 0; }
API int cuEventElapsedTime(float *milliseconds, word start, word end) { return *milliseconds = 0, 0; }
API int cuLaunchKernel(word function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,
                       unsigned blockZ, unsigned shared, word stream, void **parameters, void **extra) {
  return 0;
}
