// Version words, by which readers on other threads see that a row is being written (a sequence lock).
// Invariant: a word is odd while any row of its blocks is being written, and larger afterwards; it has one writer at a
// time, the lane that owns its blocks. Order: the fence after the odd store keeps the row's stores behind it, the fence
// before the even store keeps them ahead of it. A fence costs some tens of cycles, so a block of rows shares two.

/** What the pass under way writes to. A module instance belongs to one thread, and so do these. */
let versions: usize = 0;
let mask: u32 = 0;
let shift: u32 = 0;
let fenceWord: usize = 0;

/**
 * @param words - 0: nobody reads beside the kernel
 * @param own - a word that no other thread writes
 */
export function setVersions(words: usize, versionMask: u32, ownerShift: u32, own: usize): void {
  versions = words;
  mask = versionMask;
  shift = ownerShift;
  fenceWord = own;
}

/** A sequentially consistent store and the load after it: no store passes the two. (The compiler's own fence fails.) */
@inline
function fence(): void {
  atomic.store<u32>(fenceWord, 0);
  atomic.load<u32>(fenceWord);
}

@inline
function wordOf(entry: usize): usize {
  return versions + (<usize>((load<u32>(entry, 4) >> shift) & mask) << 2);
}

export function beginRows(list: usize, from: u32, to: u32): void {
  if (versions === 0) return;
  const end = list + (to << 3);
  for (let at = list + (from << 3); at < end; at += 8) {
    const word = wordOf(at);
    store<u32>(word, load<u32>(word) | 1);
  }
  fence();
}

export function endRows(list: usize, from: u32, to: u32): void {
  if (versions === 0) return;
  fence();
  const end = list + (to << 3);
  for (let at = list + (from << 3); at < end; at += 8) {
    const word = wordOf(at);
    // An odd word becomes the next even one, an even one stays: several entries may share a word.
    store<u32>(word, (load<u32>(word) + 1) & ~1);
  }
}
