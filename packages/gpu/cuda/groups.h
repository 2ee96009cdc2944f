// Slices by row: a stable sort of keys, a launch for each digit, and groups of what is sorted; see `countDigits` and the
// kernels after it in ../src/kernels/table.ts. Blocks have as many threads as there are digits. No block waits for another.
#pragma once
#include "parts.h"

#define SORT_THREADS 256u
#define DIGITS 256u

// A key and the number of its slice within its table.
typedef u32 key_slice __attribute__((vector_size(8), may_alias));

// Memory of a block. A bit for each thread, by digit: who has it; 32 threads a word, the words of one digit DIGITS apart.
SHARED u32 masks[SORT_THREADS / 32 * DIGITS];
// By digit: where the next slice goes.
SHARED u32 places[DIGITS];
SHARED u32 sums[SORT_THREADS];

// sums[i] becomes the sum of those up to i.
INLINE void addUp() {
  PER_THREAD(u32, more);
  for (u32 reach = 1; reach < SORT_THREADS; reach *= 2) {
    EACH_THREAD(more[MINE] = threadIndex() >= reach ? sums[threadIndex() - reach] : 0;)
    EACH_THREAD(sums[threadIndex()] += more[MINE];)
  }
}

INLINE void clearMasks() {
  UNROLL for (u32 word = 0; word < SORT_THREADS / 32; word++) masks[word * DIGITS + threadIndex()] = 0;
}

INLINE void mark(u32 digit) { orInto(&masks[threadIndex() / 32 * DIGITS + digit], 1u << threadIndex() % 32); }

// Threads that have marked a digit: those before this one, and all.
struct rank {
  u32 before, all;
};

INLINE rank rankOf(u32 digit) {
  const u32 own = threadIndex() / 32, lower = (1u << threadIndex() % 32) - 1;
  rank r = {0, 0};
  UNROLL for (u32 word = 0; word < SORT_THREADS / 32; word++) {
    const u32 mask = masks[word * DIGITS + digit];
    r.all += onesOf(mask);
    r.before += onesOf(word < own ? mask : word == own ? mask & lower : 0);
  }
  return r;
}

struct part_list {
  GLOBAL const part *parts;
  u32 count;

  // The last part of which a slice or a key is not before the first one.
  INLINE_MEMBER u32 ofSlice(u32 slice) const {
    u32 low = 0, high = count;
    while (high - low > 1) {
      const u32 middle = low + (high - low) / 2;
      if (parts[middle].firstSlice <= slice) low = middle;
      else high = middle;
    }
    return low;
  }
  INLINE_MEMBER u32 ofKey(u32 key) const {
    u32 low = 0, high = count;
    while (high - low > 1) {
      const u32 middle = low + (high - low) / 2;
      if (parts[middle].start <= key) low = middle;
      else high = middle;
    }
    return low;
  }
};

// Where a pass takes keys from: the lists of rows as they came, or the pass before.
struct key_source {
  GLOBAL const u32 *rows;
  part_list parts;
  GLOBAL const key_slice *from;
  bool isFirst;

  INLINE_MEMBER key_slice at(u32 i) const {
    if (!isFirst) return from[i];
    const GLOBAL part &p = parts.parts[parts.ofSlice(i)];
    return (key_slice){p.firstKey + rows[i], i - p.firstSlice};
  }
};

struct digits {
  u32 shift, mask;
  INLINE_MEMBER u32 of(u32 key) const { return key >> shift & mask; }
};

INLINE digits digitsOf(u32 pass, u32 bits) { return {pass * bits, (1u << bits) - 1}; }

// Moves the slices from `start` to `end` to where `places` says, in their order. With `next` counts the next digit there.
INLINE void moveSlices(const key_source &source, u32 start, u32 end, digits digit, GLOBAL key_slice *to,
                       GLOBAL u32 *next, u32 tileLength, digits nextDigit) {
  PER_THREAD(key_slice, mine);
  PER_THREAD(rank, ranks);
  EACH_THREAD(clearMasks();)
  for (u32 chunk = start; chunk < end; chunk += SORT_THREADS) {
    const u32 length = end - chunk;
    EACH_THREAD(if (threadIndex() < length) {
      mine[MINE] = source.at(chunk + threadIndex());
      mark(digit.of(mine[MINE][0]));
    })
    EACH_THREAD(if (threadIndex() < length) {
      const key_slice pair = mine[MINE];
      ranks[MINE] = rankOf(digit.of(pair[0]));
      const u32 place = places[digit.of(pair[0])] + ranks[MINE].before;
      to[place] = pair;
      if (next != nullptr) addInto(next + (u64)(place / tileLength) * DIGITS + nextDigit.of(pair[0]), 1);
    })
    EACH_THREAD(
      if (threadIndex() < length && ranks[MINE].before + 1 == ranks[MINE].all)
        places[digit.of(mine[MINE][0])] += ranks[MINE].all;
      clearMasks();
    )
  }
}

// Writes groups for sorted slices.
struct group_writer {
  GLOBAL const key_slice *sorted;
  u32 slices;
  part_list parts;
  // Null where no averages are kept lazily.
  GLOBAL const u32 *behind;
  GLOBAL u32 *order;
  GLOBAL part_header *headers;

  INLINE_MEMBER u32 firstEntry() const { return HEADER_ENTRIES * parts.count; }
  INLINE_MEMBER GLOBAL row_group *groupAt(u32 group) const { return (GLOBAL row_group *)headers + firstEntry() + group; }

  INLINE_MEMBER bool isHead(u32 i) const { return i == 0 || sorted[i - 1][0] != sorted[i][0]; }

  // A part whose groups, if it has any, begin with this one.
  INLINE_MEMBER void begins(u32 k, u32 group) const {
    const GLOBAL part &p = parts.parts[k];
    GLOBAL part_header &header = headers[k];
    header.first = firstEntry() + group;
    header.clip = p.clip;
    header.variable = p.variable;
    header.accumulator = p.accumulator;
    header.values = p.values;
    header.average = p.average;
    if (k > 0) headers[k - 1].end = firstEntry() + group;
  }

  // Slice `i` of the sorted ones. `group`: how many groups begin before it; its own number if it begins one.
  INLINE_MEMBER void write(u32 i, u32 group) const {
    const key_slice pair = sorted[i];
    const u32 own = parts.ofKey(pair[0]);
    order[i] = pair[1];
    const bool head = isHead(i);
    if (head) {
      const GLOBAL part &p = parts.parts[own];
      GLOBAL row_group *entry = groupAt(group);
      entry->row = pair[0] - p.start;
      entry->first = i;
      entry->behind = behind == nullptr ? 0 : behind[p.firstSlice + pair[1]];
      if (group > 0) entry[-1].end = i;
      // The parts since the row before begin here.
      for (u32 k = own + 1; k > 0 && (i == 0 || parts.parts[k - 1].start > sorted[i - 1][0]); k--) begins(k - 1, group);
    }
    if (i + 1 < slices) return;
    const u32 groups = head ? group + 1 : group;
    groupAt(groups - 1)->end = slices;
    for (u32 k = own + 1; k < parts.count; k++) begins(k, groups);
    headers[parts.count - 1].end = firstEntry() + groups;
  }
};

// Groups of the slices from `start` to `end`; `found` begin before.
INLINE void writeGroupsOf(const group_writer &writer, u32 start, u32 end, u32 found) {
  PER_THREAD(u32, all);
  EACH_THREAD(clearMasks();)
  for (u32 chunk = start; chunk < end; chunk += SORT_THREADS) {
    const u32 length = end - chunk;
    EACH_THREAD(if (threadIndex() < length && writer.isHead(chunk + threadIndex())) mark(0);)
    EACH_THREAD(
      const rank r = rankOf(0);
      all[MINE] = r.all;
      if (threadIndex() < length) writer.write(chunk + threadIndex(), found + r.before);
    )
    found += all[0];
    EACH_THREAD(clearMasks();)
  }
}

INLINE u32 tileEnd(u32 start, u32 tileLength, u32 slices) {
  return slices - start < tileLength ? slices : start + tileLength;
}

// rows, parts, counters; slices, partCount, tileLength, digitBits, passes
INLINE void countDigitsOf(const arguments &launch) {
  const scalar *scalars = launch.scalars;
  const u32 slices = (u32)scalars[0].word, tileLength = (u32)scalars[2].word, passes = (u32)scalars[4].word;
  const key_source source = {at<const u32>(launch.buffers[0]),
                             {at<const part>(launch.buffers[1]), (u32)scalars[1].word},
                             nullptr,
                             true};
  const digits digit = digitsOf(0, (u32)scalars[3].word);
  GLOBAL u32 *counters = at<u32>(launch.buffers[2]);
  for (u32 tile = blockIndex(); tile < launch.count; tile += blocksOfLaunch()) {
    const u32 start = tile * tileLength, end = tileEnd(start, tileLength, slices);
    EACH_THREAD(sums[threadIndex()] = 0;)
    EACH_THREAD(
      for (u32 i = start + threadIndex(); i < end; i += SORT_THREADS) addInto(&sums[digit.of(source.at(i)[0])], 1);
    )
    EACH_THREAD(
      for (u32 pass = 0; pass < passes; pass++) {
        const u64 first = (pass * launch.count + tile) * DIGITS;
        counters[first + threadIndex()] = pass == 0 ? (u32)sums[threadIndex()] : 0;
      }
    )
  }
}

// rows, parts, from, counters, to; slices, partCount, tileLength, digitBits, pass, next
INLINE void sortPassOf(const arguments &launch) {
  const scalar *scalars = launch.scalars;
  const u32 slices = (u32)scalars[0].word, tileLength = (u32)scalars[2].word, bits = (u32)scalars[3].word;
  const u32 pass = (u32)scalars[4].word, tiles = (u32)launch.count;
  const key_source source = {at<const u32>(launch.buffers[0]),
                             {at<const part>(launch.buffers[1]), (u32)scalars[1].word},
                             at<const key_slice>(launch.buffers[2]),
                             pass == 0};
  GLOBAL u32 *counters = at<u32>(launch.buffers[3]) + (u64)pass * tiles * DIGITS;
  GLOBAL u32 *next = scalars[5].word != 0 ? counters + (u64)tiles * DIGITS : nullptr;
  PER_THREAD(u32, total);
  for (u32 tile = blockIndex(); tile < tiles; tile += blocksOfLaunch()) {
    // Behind the slices of lower digits, and those of the same in the tiles before.
    EACH_THREAD(
      u32 before = 0, all = 0;
      for (u32 t = 0; t < tiles; t++) {
        const u32 count = counters[t * DIGITS + threadIndex()];
        all += count;
        before += t < tile ? count : 0;
      }
      places[threadIndex()] = before;
      sums[threadIndex()] = total[MINE] = all;
    )
    addUp();
    EACH_THREAD(places[threadIndex()] += sums[threadIndex()] - total[MINE];)
    const u32 start = tile * tileLength;
    moveSlices(source, start, tileEnd(start, tileLength, slices), digitsOf(pass, bits),
               at<key_slice>(launch.buffers[4]), next, tileLength, digitsOf(pass + 1, bits));
  }
}

// sorted, counters; slices, tileLength
INLINE void countRowsOf(const arguments &launch) {
  const u32 slices = (u32)launch.scalars[0].word, tileLength = (u32)launch.scalars[1].word;
  const group_writer sorted = {at<const key_slice>(launch.buffers[0]), slices, {nullptr, 0}, nullptr, nullptr, nullptr};
  for (u32 tile = blockIndex(); tile < launch.count; tile += blocksOfLaunch()) {
    const u32 start = tile * tileLength, end = tileEnd(start, tileLength, slices);
    EACH_THREAD(
      u32 heads = 0;
      for (u32 i = start + threadIndex(); i < end; i += SORT_THREADS) heads += sorted.isHead(i);
      sums[threadIndex()] = heads;
    )
    addUp();
    EACH_THREAD(if (threadIndex() == 0) at<u32>(launch.buffers[1])[tile] = sums[SORT_THREADS - 1];)
  }
}

// sorted, parts, behind, counters, order, rowGroups; slices, partCount, tileLength, lazy
INLINE void writeGroupsOf(const arguments &launch) {
  const scalar *scalars = launch.scalars;
  const u32 slices = (u32)scalars[0].word, tileLength = (u32)scalars[2].word;
  const u64 *buffers = launch.buffers;
  const group_writer writer = {at<const key_slice>(buffers[0]),
                               slices,
                               {at<const part>(buffers[1]), (u32)scalars[1].word},
                               scalars[3].word != 0 ? at<const u32>(buffers[2]) : nullptr,
                               at<u32>(buffers[4]),
                               at<part_header>(buffers[5])};
  for (u32 tile = blockIndex(); tile < launch.count; tile += blocksOfLaunch()) {
    // As many threads as tiles at most.
    EACH_THREAD(sums[threadIndex()] = threadIndex() < tile ? at<const u32>(buffers[3])[threadIndex()] : 0;)
    addUp();
    const u32 start = tile * tileLength;
    writeGroupsOf(writer, start, tileEnd(start, tileLength, slices), sums[SORT_THREADS - 1]);
  }
}

// rows, parts, behind, even, odd, order, rowGroups; slices, partCount, digitBits, passes, lazy. All by one block.
INLINE void groupSlicesOf(const arguments &launch) {
  if (launch.count == 0 || blockIndex() > 0) return;
  const scalar *scalars = launch.scalars;
  const u64 *buffers = launch.buffers;
  const u32 slices = (u32)scalars[0].word, bits = (u32)scalars[2].word, passes = (u32)scalars[3].word;
  const part_list parts = {at<const part>(buffers[1]), (u32)scalars[1].word};
  PER_THREAD(u32, total);
  for (u32 pass = 0; pass < passes; pass++) {
    // The first pass writes to the even pairs.
    const u64 from = buffers[pass % 2 == 0 ? 4 : 3], to = buffers[pass % 2 == 0 ? 3 : 4];
    const key_source source = {at<const u32>(buffers[0]), parts, at<const key_slice>(from), pass == 0};
    const digits digit = digitsOf(pass, bits);
    EACH_THREAD(sums[threadIndex()] = 0;)
    EACH_THREAD(
      for (u32 i = threadIndex(); i < slices; i += SORT_THREADS) addInto(&sums[digit.of(source.at(i)[0])], 1);
    )
    EACH_THREAD(total[MINE] = sums[threadIndex()];)
    addUp();
    EACH_THREAD(places[threadIndex()] = sums[threadIndex()] - total[MINE];)
    moveSlices(source, 0, slices, digit, at<key_slice>(to), nullptr, 1, digit);
  }
  const group_writer writer = {at<const key_slice>(buffers[passes % 2 == 0 ? 4 : 3]),
                               slices,
                               parts,
                               scalars[4].word != 0 ? at<const u32>(buffers[2]) : nullptr,
                               at<u32>(buffers[5]),
                               at<part_header>(buffers[6])};
  writeGroupsOf(writer, 0, slices, 0);
}
