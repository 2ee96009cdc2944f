// A stand-in for the NVIDIA driver's library: the functions that packages/gpu uses, over host memory. Calls are
// recorded, can be told to fail, and launches run the kernel sources on the CPU. Streams run lazily and in any order
// that their events allow, so that a missing wait shows in the numbers.
#include <unistd.h>

#include "device.h"
#if defined(PTX_KERNELS)
#include "run-ptx.h"
#include PTX_KERNELS
#else
#include "emulate.h"
#endif

#include "orders.h"

typedef unsigned long long handle;

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_PTX = 218, INVALID_CONTEXT = 201 };
enum { INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, CONTEXT_IS_DESTROYED = 709 };
enum { ALREADY_REGISTERED = 712, NOT_REGISTERED = 713, MISALIGNED_ADDRESS = 716 };

static const handle primary = 77;

// Begins every function: records the call, fails when told to, or when the context is broken or none is current.
static int begin(const char *name, const std::string &details, bool needsContext = true) {
  device.log += std::string(name) + (details.empty() ? "" : " " + details) + "\n";
  const auto found = device.failures.find(name);
  if (found != device.failures.end() && found->second.after-- == 0) {
    const failure told = found->second;
    device.failures.erase(found);
    device.failed++;
    if (told.sticky) device.sticky = told.result;
    return told.result;
  }
  if (!needsContext) return 0;
  if (device.sticky != 0) return device.sticky;
  if (current == 0) return INVALID_CONTEXT;
  return device.retained > 0 ? 0 : CONTEXT_IS_DESTROYED;
}

#define BEGIN(details, ...) \
  std::lock_guard<std::recursive_mutex> guard(device.lock); \
  if (const int failed = begin(__func__, details, ##__VA_ARGS__)) return failed

static std::string text(unsigned long long value) { return std::to_string(value); }

static const kernel *kernelNamed(const char *name) {
  for (const kernel &k : kernels) {
    if (strcmp(k.name, name) == 0) return &k;
  }
  return nullptr;
}

// The driver.

API int cuInit(unsigned flags) {
  BEGIN("", false);
  return flags == 0 ? 0 : INVALID_VALUE;
}

API int cuDriverGetVersion(int *version) {
  BEGIN("", false);
  *version = (int)device.setting("driverVersion", 12040);
  return 0;
}

API int cuGetErrorString(int result, const char **string) {
  *string = result == OUT_OF_MEMORY ? "out of memory" : "as the test told";
  return 0;
}

API int cuDeviceGetCount(int *count) {
  BEGIN("", false);
  *count = (int)device.setting("devices", 1);
  return 0;
}

API int cuDeviceGet(int *handle, int ordinal) {
  BEGIN(text(ordinal), false);
  if (ordinal < 0 || ordinal >= device.setting("devices", 1)) return INVALID_DEVICE;
  *handle = ordinal;
  return 0;
}

API int cuDeviceGetName(char *name, int length, int ordinal) {
  BEGIN(text(ordinal), false);
  snprintf(name, length, "Stub GPU %d", ordinal);
  return 0;
}

API int cuDeviceGetAttribute(int *value, int attribute, int ordinal) {
  BEGIN(text(attribute) + " " + text(ordinal), false);
  const std::string name = "attribute" + text(attribute);
  const long long otherwise = attribute == 75 ? 9 : 0;
  *value = (int)device.setting(name + "of" + text(ordinal), device.setting(name, otherwise));
  return 0;
}

API int cuDeviceTotalMem_v2(size_t *bytes, int) {
  BEGIN("", false);
  *bytes = (size_t)device.setting("totalBytes", 1ll << 32);
  return 0;
}

API int cuDevicePrimaryCtxRetain(handle *context, int ordinal) {
  BEGIN("", false);
  if (device.setting("takenOf" + text(ordinal), 0) != 0) return 46;
  device.retained++;
  *context = primary;
  return 0;
}

API int cuDevicePrimaryCtxRelease(int) {
  BEGIN("", false);
  if (device.retained == 0) return device.misuse++, INVALID_CONTEXT;
  device.retained--;
  return 0;
}

API int cuCtxSetCurrent(handle context) {
  std::lock_guard<std::recursive_mutex> guard(device.lock);
  if (context != 0 && (context != primary || device.retained == 0)) return INVALID_CONTEXT;
  current = context;
  return device.sticky;
}

API int cuModuleLoadDataEx(handle *module, const char *image, unsigned count, const int *options, void **values) {
  // Without the lock: who lets it go on is another thread.
  while (compilerWaits) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  BEGIN(text(strlen(image)));
  if (strstr(image, ".version 6.4") == nullptr || device.setting("invalidPtx", 0)) {
    for (unsigned i = 0; i < count; i++) {
      if (options[i] == 5) strcpy((char *)values[i], "ptxas fatal : Unexpected text\nline 1");
    }
    return INVALID_PTX;
  }
  *module = (handle)strdup(image);
  return 0;
}

API int cuModuleUnload(handle module) {
  BEGIN("", false);
  free((void *)module);
  return 0;
}

API int cuModuleGetFunction(handle *function, handle module, const char *name) {
  BEGIN(name);
  const kernel *found = kernelNamed(name);
  const std::string entry = std::string(".entry ") + name + "(";
  if (found == nullptr || strstr((const char *)module, entry.c_str()) == nullptr) return NOT_FOUND;
  *function = (handle)found;
  return 0;
}

API int cuMemGetInfo_v2(size_t *freeBytes, size_t *total) {
  BEGIN("");
  *total = (size_t)device.setting("totalBytes", 1ll << 32);
  *freeBytes = *total - device.used;
  return 0;
}

static bool fencesHold(const char *memory, size_t bytes) {
  for (size_t i = 0; i < fence; i++) {
    if (memory[-1 - (long)i] != 0x5a || memory[bytes + i] != 0x5a) return false;
  }
  return true;
}

API int cuMemAlloc_v2(handle *address, size_t bytes) {
  BEGIN(text(bytes));
  if (bytes == 0) return INVALID_VALUE;
  if (device.used + bytes > (size_t)device.setting("totalBytes", 1ll << 32)) return OUT_OF_MEMORY;
  void *block = nullptr;
  if (posix_memalign(&block, 256, bytes + 2 * fence) != 0) return OUT_OF_MEMORY;
  char *memory = (char *)block + fence;
  memset(block, 0x5a, bytes + 2 * fence);
  // What a fresh buffer holds is anybody's guess.
  memset(memory, 0xa5, bytes);
  closeFences(memory, bytes);
  device.allocations[(uintptr_t)memory] = bytes;
  device.used += bytes;
  *address = (handle)memory;
  return 0;
}

API int cuMemFree_v2(handle address) {
  BEGIN("", device.sticky == 0);
  const auto found = device.allocations.find(address);
  if (found == device.allocations.end()) return INVALID_VALUE;
  device.drain();
  openFences((char *)address, found->second);
  const bool intact = fencesHold((const char *)address, found->second);
  device.used -= found->second;
  free((char *)address - fence);
  device.allocations.erase(found);
  return intact ? 0 : ILLEGAL_ADDRESS;
}

API int cuMemHostRegister_v2(handle address, size_t bytes, unsigned flags) {
  BEGIN(text(bytes));
  if (address == 0 || bytes == 0 || flags != 0) return INVALID_VALUE;
  // A page is pinned once.
  const uintptr_t start = device.pageOf(address);
  if (device.pinned(start, device.pageOf(address + bytes + 4095) - start) != 0) return ALREADY_REGISTERED;
  device.registered[address] = bytes;
  return 0;
}

API int cuMemHostUnregister(handle address) {
  // Without its context it stays pinned, and nobody is told.
  if (device.sticky == 0 && (current == 0 || device.retained == 0)) device.misuse++;
  BEGIN("", device.sticky == 0);
  const auto found = device.registered.find(address);
  if (found == device.registered.end()) return NOT_REGISTERED;
  if (device.sticky == 0 && device.inUse(address, found->second)) device.misuse++;
  device.registered.erase(found);
  return 0;
}

static int enqueue(handle stream, std::function<int()> run, const void *host = nullptr, size_t hostBytes = 0) {
  if (device.streams.count((stub_stream *)stream) == 0) return INVALID_HANDLE;
  ((stub_stream *)stream)->queue.push_back({run, (uintptr_t)host, hostBytes});
  return 0;
}

API int cuMemcpyHtoDAsync_v2(handle to, const void *from, size_t bytes, handle stream) {
  BEGIN(text(bytes) + " stream " + (stream == 0 ? "0" : "own"));
  const int pinned = device.pinned((uintptr_t)from, bytes);
  if (!device.holds(to, bytes) || pinned < 0) return INVALID_VALUE;
  if (pinned) return enqueue(stream, [=] { return memcpy((void *)to, from, bytes), 0; }, from, bytes);
  // Pageable memory is copied to a staging buffer before the call returns.
  const std::vector<char> staged((const char *)from, (const char *)from + bytes);
  return enqueue(stream, [=] { return memcpy((void *)to, staged.data(), bytes), 0; });
}

API int cuMemcpyDtoHAsync_v2(void *to, handle from, size_t bytes, handle stream) {
  BEGIN(text(bytes));
  const int pinned = device.pinned((uintptr_t)to, bytes);
  if (!device.holds(from, bytes) || pinned < 0) return INVALID_VALUE;
  const size_t held = pinned ? bytes : 0;
  if (const int failed = enqueue(stream, [=] { return memcpy(to, (void *)from, bytes), 0; }, to, held)) return failed;
  // Into pageable memory the call waits for the copy.
  return pinned ? 0 : device.drain();
}

API int cuMemcpyDtoDAsync_v2(handle to, handle from, size_t bytes, handle stream) {
  BEGIN(text(bytes));
  if (!device.holds(to, bytes) || !device.holds(from, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return memcpy((void *)to, (void *)from, bytes), 0; });
}

API int cuMemsetD8Async(handle to, unsigned char value, size_t bytes, handle stream) {
  BEGIN(text(bytes));
  if (!device.holds(to, bytes)) return INVALID_VALUE;
  return enqueue(stream, [=] { return memset((void *)to, value, bytes), 0; });
}

API int cuStreamCreate(handle *stream, unsigned flags) {
  BEGIN("");
  if (flags > 1) return INVALID_VALUE;
  *stream = (handle)*device.streams.insert(new stub_stream).first;
  return 0;
}

API int cuStreamDestroy_v2(handle stream) {
  BEGIN("", false);
  if (device.streams.erase((stub_stream *)stream) == 0) return INVALID_VALUE;
  delete (stub_stream *)stream;
  return 0;
}

API int cuStreamWaitEvent(handle stream, handle event, unsigned flags) {
  BEGIN("");
  if (flags != 0) return INVALID_VALUE;
  if (device.streams.count((stub_stream *)stream) == 0 || device.events.count((stub_event *)event) == 0)
    return INVALID_HANDLE;
  ((stub_stream *)stream)->queue.push_back({nullptr, 0, 0, (stub_event *)event, ((stub_event *)event)->made});
  return 0;
}

API int cuEventCreate(handle *event, unsigned flags) {
  BEGIN(text(flags));
  if (flags > 3) return INVALID_VALUE;
  stub_event *made = new stub_event;
  made->flags = flags;
  device.events.insert(made);
  *event = (handle)made;
  return 0;
}

API int cuEventDestroy_v2(handle event) {
  BEGIN("", false);
  if (device.events.erase((stub_event *)event) == 0) return INVALID_VALUE;
  delete (stub_event *)event;
  return 0;
}

API int cuEventRecord(handle event, handle stream) {
  BEGIN("");
  stub_event *known = (stub_event *)event;
  if (device.events.count(known) == 0) return INVALID_HANDLE;
  const unsigned long long record = ++known->made;
  return enqueue(stream, [=] { return known->ended = record, 0; });
}

API int cuEventQuery(handle event) {
  BEGIN("");
  if (device.events.count((stub_event *)event) == 0) return INVALID_HANDLE;
  if (device.unanswered > 0) {
    device.unanswered--;
    return NOT_READY;
  }
  const int result = device.drain((stub_event *)event);
  // Another library takes the thread.
  if (device.setting("leaves", 0) != 0) current = 0;
  return result;
}

API int cuEventSynchronize(handle event) {
  const auto waitsMs = [] {
    std::lock_guard<std::recursive_mutex> guard(device.lock);
    return (unsigned)device.setting("waitsMs", 0);
  };
  usleep(waitsMs() * 1000);
  // Whether a thread needs a context for this is not documented: both are tried.
  BEGIN("", device.setting("waitNeedsContext", 0) != 0);
  if (device.events.count((stub_event *)event) == 0) return INVALID_HANDLE;
  device.unanswered = 0;
  return device.drain((stub_event *)event);
}

API int cuEventElapsedTime(float *milliseconds, handle start, handle end) {
  BEGIN("");
  for (const handle event : {start, end}) {
    const stub_event *known = (stub_event *)event;
    // 2: its clock was not to be read.
    if (device.events.count((stub_event *)event) == 0 || (known->flags & 2) || known->made == 0) return INVALID_HANDLE;
    if (known->ended < known->made) return NOT_READY;
  }
  *milliseconds = 1;
  return 0;
}

API int cuLaunchKernel(handle function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                       unsigned blockY, unsigned blockZ, unsigned shared, handle stream, void **parameters,
                       void **extra) {
  const kernel *code = (const kernel *)function;
  BEGIN(std::string(code->name) + " " + text(gridX) + " " + text(blockX));
  if (gridX == 0 || gridY != 1 || gridZ != 1 || blockX == 0 || blockX > 1024 || blockX % 32 != 0 || blockY != 1 ||
      blockZ != 1 || shared != 0 || extra != nullptr) {
    return INVALID_VALUE;
  }
  arguments launch;
  memcpy(&launch, parameters[0], sizeof launch);
  // Kernels read vectors of 16 bytes; what a kernel is given begins at multiples of 256.
  handle buffers[8];
  memcpy(buffers, parameters[0], sizeof buffers);
  for (const handle buffer : buffers) {
    if (buffer != 0 && !device.holds(buffer, 1)) return ILLEGAL_ADDRESS;
    if (buffer % 256 != 0) return MISALIGNED_ADDRESS;
  }
  const unsigned seed = device.random();
  return enqueue(stream, [=] {
    const auto told = device.failures.find("execution");
    if (told != device.failures.end() && told->second.after-- == 0) {
      device.failed++;
      return told->second.result;
    }
    emulate(*code, launch, gridX, blockX, seed);
    return 0;
  });
}
