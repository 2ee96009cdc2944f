// What the kernels need from the machine, twice: for an NVIDIA GPU (clang's NVPTX target, no CUDA toolkit), and for the
// CPU, where a launch is a loop over blocks and threads, so that the same bodies are tested without a GPU.
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;
// Four words of a table, for one load.
typedef u32 words __attribute__((vector_size(16), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))

// For loops of few known rounds, whose arrays are to stay in registers; and for those that would only make code longer.
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define UNROLL
#define ROLLED
#endif

// 16 bytes of elements, for one load or store.
template <typename REAL> struct packed;
template <> struct packed<float> {
  typedef float type __attribute__((vector_size(16), may_alias));
};
template <> struct packed<double> {
  typedef double type __attribute__((vector_size(16), may_alias));
};

// A launch has one argument of this layout, whatever the kernel: buffers and scalars in the order of
// ../src/kernels/table.ts, elements as float64, words as 64-bit integers.
typedef union {
  double element;
  u64 word;
} scalar;

struct arguments {
  u64 buffers[8];
  // Units of work.
  u64 count;
  scalar scalars[10];
};

// The sum of eight running sums, in the order of the CPU's kernels.
template <typename POINTER> INLINE double pairwise(POINTER s) {
  return ((s[0] + s[2]) + (s[4] + s[6])) + ((s[1] + s[3]) + (s[5] + s[7]));
}

// A sum with one order is shared by an octet, eight threads of one warp. What each lane of an octet has of its own is
// declared with PER_LANE and reached as name[AT(lane)]. EACH_LANE runs a statement for each lane: on a GPU once in each
// thread, on the CPU eight times in a row. Lanes meet in octetSum, which orders nothing in memory, and in octetMeets.
#if defined(__NVPTX__)

#define GLOBAL __attribute__((address_space(1)))
#define ON_CHIP __attribute__((address_space(3)))
// Memory of a block, which nobody sets to zero.
#define SHARED static ON_CHIP __attribute__((loader_uninitialized))
#define KERNEL(name) extern "C" __attribute__((nvptx_kernel)) void name(const arguments launch)

INLINE u32 threadIndex() { return __nvvm_read_ptx_sreg_tid_x(); }
INLINE u32 threadsOfBlock() { return __nvvm_read_ptx_sreg_ntid_x(); }
INLINE u32 blockIndex() { return __nvvm_read_ptx_sreg_ctaid_x(); }
INLINE u32 blocksOfLaunch() { return __nvvm_read_ptx_sreg_nctaid_x(); }

// Runs a statement in each thread, or in each octet, of a block; all have ended it before any goes on.
#define EACH_THREAD(...) \
  { \
    __VA_ARGS__ \
    __syncthreads(); \
  }
#define EACH_OCTET(...) EACH_THREAD(__VA_ARGS__)

#define PER_LANE(type, name) type name[1]
#define AT(lane) 0
#define EACH_LANE(lane) for (u32 lane = threadIndex() & 7, once = 1; once != 0; once = 0)

// What each thread of a block has of its own over several EACH_THREAD, reached as name[MINE]; never set to zero.
#define PER_THREAD(type, name) type name[1]
#define MINE 0

INLINE double exchanged(double value, u32 distance) {
  union {
    double real;
    int words[2];
  } v;
  v.real = value;
  // Only this octet takes part, so that octets of one warp may take different paths.
  const u32 members = 0xffu << (threadIndex() & 24);
  const int segment = (24 << 8) | 31;
  v.words[0] = __nvvm_shfl_sync_bfly_i32(members, v.words[0], distance, segment);
  v.words[1] = __nvvm_shfl_sync_bfly_i32(members, v.words[1], distance, segment);
  return v.real;
}

// As `pairwise`, known to every lane.
INLINE double octetSum(const double *s) {
  double sum = s[0] + exchanged(s[0], 2);
  sum = sum + exchanged(sum, 4);
  return sum + exchanged(sum, 1);
}

// What an octet's lanes have read or written before, all of them have when they go on.
INLINE void octetMeets() { __nvvm_bar_warp_sync(0xffu << (threadIndex() & 24)); }

INLINE float squareRoot(float value) { return __nvvm_sqrt_rn_f(value); }
INLINE double squareRoot(double value) { return __nvvm_sqrt_rn_d(value); }

#else

#define GLOBAL
#define ON_CHIP
#define SHARED static thread_local
#define KERNEL(name) static void name(const arguments &launch)

// Where the running thread is; set by the loop in emulate.cpp. Kernels that work in octets are run once for each octet,
// as its first thread, those that work in blocks once for each block.
struct launch_place {
  u32 thread, threads, block, blocks;
};
static thread_local launch_place place;

INLINE u32 threadIndex() { return place.thread; }
INLINE u32 threadsOfBlock() { return place.threads; }
INLINE u32 blockIndex() { return place.block; }
INLINE u32 blocksOfLaunch() { return place.blocks; }

#define EACH_THREAD(...) \
  for (place.thread = 0; place.thread < place.threads; place.thread++) { \
    __VA_ARGS__ \
  }
#define EACH_OCTET(...) \
  for (place.thread = 0; place.thread < place.threads; place.thread += 8) { \
    __VA_ARGS__ \
  }

#define PER_THREAD(type, name) type name[256]
#define MINE threadIndex()
#define PER_LANE(type, name) type name[8]
#define AT(lane) lane
#define EACH_LANE(lane) for (u32 lane = 0; lane < 8; lane++)

INLINE double octetSum(const double *s) { return pairwise(s); }
INLINE void octetMeets() {}

INLINE float squareRoot(float value) { return __builtin_sqrtf(value); }
INLINE double squareRoot(double value) { return __builtin_sqrt(value); }

#endif

// Numbers that several threads or blocks change at the same time, in any order: the result is the same.
template <typename POINTER> INLINE void addInto(POINTER to, u32 value) {
  __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}
template <typename POINTER> INLINE void orInto(POINTER to, u32 value) {
  __atomic_fetch_or(to, value, __ATOMIC_RELAXED);
}
INLINE u32 onesOf(u32 word) { return (u32)__builtin_popcount(word); }

template <typename T> INLINE GLOBAL T *at(u64 address) { return (GLOBAL T *)address; }

// Whether all of the addresses are those of whole vectors.
INLINE bool aligned(u64 a, u64 b = 0, u64 c = 0, u64 d = 0) { return ((a | b | c | d) & 15) == 0; }

// `WIDTH` neighbours from or to memory: one element, or a whole vector.
template <u32 WIDTH, typename REAL> INLINE void load(REAL *to, GLOBAL const REAL *from) {
  if (WIDTH == 1) {
    to[0] = from[0];
    return;
  }
  const typename packed<REAL>::type values = *(GLOBAL const typename packed<REAL>::type *)from;
  UNROLL for (u32 j = 0; j < WIDTH; j++) to[j] = values[j];
}

template <u32 WIDTH, typename REAL> INLINE void store(GLOBAL REAL *to, const REAL *from) {
  if (WIDTH == 1) {
    to[0] = from[0];
    return;
  }
  typename packed<REAL>::type values;
  UNROLL for (u32 j = 0; j < WIDTH; j++) values[j] = from[j];
  *(GLOBAL typename packed<REAL>::type *)to = values;
}
