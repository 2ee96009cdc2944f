/* The yardstick of random rows: copies them, or changes them in place, and does nothing else. With prefetching and the
 * widest vectors that the compiler knows of for this processor, in huge pages: as fast as it goes.
 *
 * rows: rows dim slices lists threads seconds < lists of row numbers (int32)
 * Prints the bytes read + written a second: of copying a row of one table to the same row of another, of changing a row
 * in place, and of doing the second in two tables. Each is the best of several passes over all lists. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum work { COPY, CHANGE, CHANGE_BOTH };
#define AHEAD_BYTES 8192

static size_t rows, rowBytes, slices, lists, threads;
static char *first, *second;
static uint32_t *indices;
static enum work work;
static pthread_barrier_t barrier;
static double until;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

static inline void change(uint64_t *row, size_t words) {
  for (size_t i = 0; i < words; i++) row[i] ^= 1;
}

/* One list, or the share of it that one thread has. */
static void pass(const uint32_t *list, size_t count) {
  const size_t wanted = AHEAD_BYTES / rowBytes, ahead = wanted < 4 ? 4 : wanted > 64 ? 64 : wanted;
  for (size_t i = 0; i < count; i++) {
    const size_t next = list[i + ahead < count ? i + ahead : count - 1] * rowBytes, at = list[i] * rowBytes;
    for (size_t line = 0; line < rowBytes; line += 64) {
      __builtin_prefetch(first + next + line, 1);
      if (work != CHANGE) __builtin_prefetch(second + next + line, 1);
    }
    if (work == COPY) {
      const uint64_t *restrict from = (uint64_t *)(first + at);
      uint64_t *restrict to = (uint64_t *)(second + at);
      for (size_t j = 0; j < rowBytes / 8; j++) to[j] = from[j];
    } else {
      change((uint64_t *)(first + at), rowBytes / 8);
      if (work == CHANGE_BOTH) change((uint64_t *)(second + at), rowBytes / 8);
    }
  }
}

/* Returns the seconds of the fastest pass over all lists, as the slowest thread sees it: all wait for each other. */
static void *run(void *argument) {
  const size_t thread = (size_t)argument, from = slices * thread / threads, to = slices * (thread + 1) / threads;
  double *best = malloc(sizeof *best);
  *best = 1e9;
  int go = 1;
  while (go) {
    pthread_barrier_wait(&barrier);
    const double begin = now();
    for (size_t list = 0; list < lists; list++) pass(indices + list * slices + from, to - from);
    pthread_barrier_wait(&barrier);
    const double end = now();
    if (end - begin < *best) *best = end - begin;
    /* Everybody decides by the same time, or else one would wait for ever. */
    static double decided;
    if (thread == 0) decided = end;
    pthread_barrier_wait(&barrier);
    go = decided < until;
  }
  return best;
}

static double rate(enum work kind, double seconds) {
  pthread_t ids[64];
  double *best = NULL;
  work = kind;
  until = now() + seconds;
  for (size_t i = 0; i < threads; i++) pthread_create(&ids[i], NULL, run, (void *)i);
  for (size_t i = 0; i < threads; i++) pthread_join(ids[i], (void **)&best);
  return lists * slices * rowBytes * (kind == CHANGE_BOTH ? 4.0 : 2.0) / *best;
}

static char *table(size_t bytes, int value) {
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) exit(1);
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  memset(memory, value, bytes);
  return memory;
}

int main(int count, char **arguments) {
  if (count < 7) return 2;
  rows = strtoull(arguments[1], NULL, 10);
  rowBytes = 4 * strtoull(arguments[2], NULL, 10);
  slices = strtoull(arguments[3], NULL, 10);
  lists = strtoull(arguments[4], NULL, 10);
  threads = strtoull(arguments[5], NULL, 10);
  const double seconds = strtod(arguments[6], NULL);
  indices = malloc(lists * slices * 4);
  if (threads < 1 || threads > 64 || indices == NULL || fread(indices, 4, lists * slices, stdin) != lists * slices) return 2;
  for (size_t i = 0; i < lists * slices; i++)
    if (indices[i] >= rows) return 2;
  first = table(rows * rowBytes, 1);
  second = table(rows * rowBytes, 2);
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  const double copy = rate(COPY, seconds), changed = rate(CHANGE, seconds), both = rate(CHANGE_BOTH, seconds);
  printf("{\"copy\": %.0f, \"change\": %.0f, \"changeBoth\": %.0f}\n", copy, changed, both);
  return 0;
}
