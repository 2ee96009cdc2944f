// What the tests tell the pretended device, and ask of it.
#pragma once
#include <cstring>

#include "device.h"

#define API extern "C" __attribute__((visibility("default")))

// Bytes on both sides of every allocation that nothing may write, or read where that is checked.
static const size_t fence = 256;

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

static void closeFences(char *memory, size_t bytes) {
  ASAN_POISON_MEMORY_REGION(memory - fence, fence);
  ASAN_POISON_MEMORY_REGION(memory + bytes, fence);
}

static void openFences(char *memory, size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(memory - fence, fence);
  ASAN_UNPOISON_MEMORY_REGION(memory + bytes, fence);
}

// All of them under the lock: a waiting thread of the back end may be in a call.
API void stubReset() {
  std::lock_guard<std::recursive_mutex> guard(device.lock);
  for (const auto &[address, bytes] : device.allocations) {
    openFences((char *)address, bytes);
    free((char *)address - fence);
  }
  device.allocations.clear();
  device.registered.clear();
  device.failures.clear();
  device.settings.clear();
  device.log.clear();
  for (stub_stream *stream : device.streams) delete stream;
  for (stub_event *event : device.events) delete event;
  device.streams.clear();
  device.events.clear();
  device.used = 0;
  device.sticky = device.retained = device.unanswered = device.failed = device.misuse = 0;
  compilerWaits = false;
}

API void stubSet(const char *name, long long value) {
  std::lock_guard<std::recursive_mutex> guard(device.lock);
  device.settings[name] = value;
  if (strcmp(name, "seed") == 0) device.seed = (unsigned)value;
  if (strcmp(name, "compilerWaits") == 0) compilerWaits = value != 0;
  if (strcmp(name, "notReady") == 0) device.unanswered = (int)value;
}

// The call after the next `after` ones of this name returns `result`; sticky: every later one of all names, too. A
// launch that is enqueued but fails when it runs has the name "execution".
API void stubFail(const char *name, int after, int result, int sticky) {
  std::lock_guard<std::recursive_mutex> guard(device.lock);
  device.failures[name] = {after, result, sticky != 0};
}

// Copies the record of calls, and forgets it.
API size_t stubTakeLog(char *into, size_t room) {
  std::lock_guard<std::recursive_mutex> guard(device.lock);
  const size_t length = device.log.size() < room ? device.log.size() : room;
  memcpy(into, device.log.data(), length);
  device.log.clear();
  return length;
}

// What is not given back: allocations, registered ranges, streams, events, contexts; and misuse.
API int stubLeft() {
  std::lock_guard<std::recursive_mutex> guard(device.lock);
  return (int)(device.allocations.size() + device.registered.size() + device.streams.size() + device.events.size()) +
         device.retained + 1000 * device.misuse;
}

// How many calls have failed as they were told to.
API int stubFailed() {
  std::lock_guard<std::recursive_mutex> guard(device.lock);
  return device.failed;
}
// The context that is current on the calling thread.
API unsigned long long stubCurrent() { return current; }
