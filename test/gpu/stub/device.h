// The pretended device: memory, streams whose work is done as late as possible, events, and orders to fail.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

struct stub_event;

struct operation {
  std::function<int()> run;
  // Host memory that it uses, which has to stay pinned until then.
  uintptr_t host = 0;
  size_t hostBytes = 0;
  // Runs only when this event's record of that number has ended.
  stub_event *waits = nullptr;
  unsigned long long record = 0;
};

struct stub_stream {
  std::deque<operation> queue;
};

// Records are numbered: a wait is for the last one that was made when it was enqueued.
struct stub_event {
  unsigned long long made = 0, ended = 0;
  unsigned flags = 0;
};

struct failure {
  int after, result;
  bool sticky;
};

struct stub_device {
  std::recursive_mutex lock;
  std::map<uintptr_t, size_t> allocations, registered;
  std::set<stub_stream *> streams;
  std::set<stub_event *> events;
  std::map<std::string, failure> failures;
  std::string log;
  std::map<std::string, long long> settings;
  size_t used = 0;
  // `failed`: calls that failed because a test said so.
  int sticky = 0, retained = 0, unanswered = 0, failed = 0;
  // Calls that a real driver would not survive, and says nothing about: see `stubLeft`.
  int misuse = 0;
  unsigned seed = 1;

  long long setting(const std::string &name, long long otherwise) {
    const auto found = settings.find(name);
    return found == settings.end() ? otherwise : found->second;
  }

  unsigned random() {
    seed = seed * 1664525u + 1013904223u;
    return seed >> 16;
  }

  // Runs what can run, streams in any order, until nothing is left or `event` has ended. 0, or the first failure.
  int drain(stub_event *event = nullptr) {
    const unsigned long long wanted = event == nullptr ? 0 : event->made;
    while (sticky == 0) {
      if (event != nullptr && event->ended >= wanted) return 0;
      std::vector<stub_stream *> ready;
      for (stub_stream *stream : streams) {
        if (stream->queue.empty()) continue;
        const operation &next = stream->queue.front();
        if (next.waits == nullptr || next.waits->ended >= next.record) ready.push_back(stream);
      }
      if (ready.empty()) return 0;
      stub_stream *stream = ready[random() % ready.size()];
      const operation next = stream->queue.front();
      stream->queue.pop_front();
      if (next.run) sticky = next.run();
    }
    return sticky;
  }

  // Whether a range lies in one allocation.
  bool holds(uintptr_t address, size_t bytes) const {
    auto found = allocations.upper_bound(address);
    if (found == allocations.begin()) return false;
    --found;
    return address + bytes <= found->first + found->second;
  }

  static uintptr_t pageOf(uintptr_t address) { return address & ~(uintptr_t)4095; }

  // Whether all of a range is pinned as one: 1, nothing of it: 0, a part of it: -1. Pages are pinned as a whole.
  int pinned(uintptr_t address, size_t bytes) const {
    bool touched = false;
    for (const auto &[from, length] : registered) {
      const uintptr_t start = pageOf(from), end = pageOf(from + length + 4095);
      if (start <= address && address + bytes <= end) return 1;
      if (start < address + bytes && address < end) touched = true;
    }
    return touched ? -1 : 0;
  }

  // Whether work that is enqueued uses host memory of a range.
  bool inUse(uintptr_t address, size_t bytes) const {
    for (const stub_stream *stream : streams) {
      for (const operation &next : stream->queue) {
        if (next.hostBytes > 0 && next.host < address + bytes && address < next.host + next.hostBytes) return true;
      }
    }
    return false;
  }
};

static stub_device device;
// Whether the compiler takes its time.
static std::atomic<bool> compilerWaits{false};
static thread_local unsigned long long current = 0;
