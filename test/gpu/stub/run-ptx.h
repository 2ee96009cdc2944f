// Runs launches of kernels that were PTX text (../ptx-to-cpp.ts) on the CPU: the threads of a block are fibers, which
// give way to each other where they meet.
#pragma once
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

// As packages/gpu/cuda/device.h.
typedef unsigned int u32;
typedef unsigned long long u64;
struct arguments {
  u64 slots[19];
};

enum body { PTX };
struct kernel {
  const char *name;
  body runs;
  void (*function)(const arguments &);
};

struct fiber {
  ucontext_t context;
  std::vector<char> stack;
  u32 thread;
  bool ended;
  // What it waits for: 0 nothing, 1 the block, 2 the members of an exchange.
  int waits;
  u32 members, given, distance, taken;
};

struct ptx_place {
  u32 thread, threads, block, blocks;
};
static ptx_place ptx;
static ucontext_t scheduler;
static std::vector<fiber> fibers;
static void (*running)(const arguments &);
static const arguments *argument;

static void giveWay() {
  const u32 self = ptx.thread;
  swapcontext(&fibers[self].context, &scheduler);
  ptx.thread = self;
}

static void ptxBarrier() {
  fibers[ptx.thread].waits = 1;
  giveWay();
}

// shfl.sync.bfly: the value of the lane whose number differs in the bits of `distance`, when all members are there.
static u32 ptxExchange(u32 value, u32 distance, u32 members) {
  fiber &self = fibers[ptx.thread];
  if ((members >> (ptx.thread & 31) & 1) == 0) abort();
  self.given = value;
  self.distance = distance;
  self.members = members;
  self.waits = 2;
  giveWay();
  return fibers[ptx.thread].taken;
}

template <typename A, typename B> static void ptxMove(A &to, const B &from) {
  static_assert(sizeof(A) == sizeof(B), "bits are moved as they are");
  memcpy(&to, &from, sizeof to);
}

static float ptxFloat(u32 bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static double ptxDouble(u64 bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void beginFiber() {
  running(*argument);
  fibers[ptx.thread].ended = true;
  swapcontext(&fibers[ptx.thread].context, &scheduler);
}

// Lets go the members of an exchange that all wait in it.
static bool exchanged(fiber &first) {
  const u32 warp = first.thread & ~31u;
  for (u32 lane = 0; lane < 32; lane++) {
    if ((first.members >> lane & 1) == 0) continue;
    const fiber &member = fibers[warp + lane];
    if (member.waits != 2 || member.members != first.members || member.distance != first.distance) return false;
  }
  for (u32 lane = 0; lane < 32; lane++) {
    if (first.members >> lane & 1) fibers[warp + lane].taken = fibers[warp + (lane ^ first.distance)].given;
  }
  const u32 members = first.members;
  for (u32 lane = 0; lane < 32; lane++) {
    if (members >> lane & 1) fibers[warp + lane].waits = 0;
  }
  return true;
}

// `order` decides in which order threads get their turns: no kernel may depend on it.
static void runBlock(u32 order) {
  const u32 stride = order * 2 + 1, offset = order >> 3;
  for (fiber &f : fibers) {
    f.ended = false;
    f.waits = 0;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = f.stack.size();
    f.context.uc_link = nullptr;
    makecontext(&f.context, beginFiber, 0);
  }
  for (;;) {
    u32 ended = 0, atBarrier = 0;
    bool moved = false;
    for (u32 i = 0; i < fibers.size(); i++) {
      // A permutation: the number of threads is a power of two, the stride is odd.
      fiber &f = fibers[(i * stride + offset) % fibers.size()];
      if (!f.ended && f.waits == 2) exchanged(f);
      if (!f.ended && f.waits == 0) {
        ptx.thread = f.thread;
        swapcontext(&scheduler, &f.context);
        moved = true;
      }
      ended += f.ended;
      atBarrier += !f.ended && f.waits == 1;
    }
    if (ended == fibers.size()) return;
    if (atBarrier == fibers.size()) {
      for (fiber &f : fibers) f.waits = 0;
      moved = true;
    }
    if (!moved) {
      fprintf(stderr, "The threads of a block wait for each other for ever.\n");
      abort();
    }
  }
}

static void emulate(const kernel &k, const arguments &launch, u32 blocks, u32 threads, u32 seed) {
  running = k.function;
  argument = &launch;
  fibers.resize(threads);
  for (u32 t = 0; t < threads; t++) {
    fibers[t].thread = t;
    fibers[t].stack.resize(1 << 15);
  }
  for (u32 b = 0; b < blocks; b++) {
    ptx = {0, threads, seed & 1 ? blocks - 1 - b : b, blocks};
    runBlock(seed * 31 + b * 7);
  }
}
