/**
 * The byte ranges of one arena that callers hold to write gradients into. A gradient is used in place only
 * inside one of them: elsewhere lie variables, which the step itself may be changing.
 */
export class LentRanges {
  /** Ascending; ranges do not overlap. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  add(start: number, byteLength: number): void {
    const at = this.#position(start);
    this.#starts.splice(at, 0, start);
    this.#ends.splice(at, 0, start + byteLength);
  }

  remove(start: number): void {
    const at = this.#position(start);
    if (this.#starts[at] !== start) return;
    this.#starts.splice(at, 1);
    this.#ends.splice(at, 1);
  }

  contains(start: number, byteLength: number): boolean {
    const at =
      this.#starts[this.#position(start)] === start ? this.#position(start) : this.#position(start) - 1;
    return at >= 0 && start + byteLength <= this.#ends[at]!;
  }

  /** Position of the first range that starts at or after `start`. */
  #position(start: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
