/**
 * The doorbell between the calling thread and the lanes: one shared Int32Array.
 *
 * Invariants
 * - The caller writes the program with plain stores, then adds to GENERATION. A lane reads GENERATION with an
 *   atomic load before it reads the program. All Atomics are sequentially consistent, so the program is
 *   complete when a lane sees the new generation, and results are visible when the caller sees LANE_DONE.
 * - The caller rings again only after every lane of the last program has stored its LANE_DONE (or is lost and
 *   has been replaced), so no lane reads a program that is being written.
 * - Bit 0 of the generation says that the caller computes lane 0 itself. It is part of the same word, so that
 *   a lane that wakes late can never pair one program with another's mode.
 * - ARRIVED only grows within a program: a lane may pass the barrier before phase p when ARRIVED >= p * lanes.
 * - ABORT is set only when a lane is lost, before the barrier is notified; lanes then leave at the barrier.
 * - CLOSED is set once, before the last change of GENERATION, which wraps around and so has no value of its own for it.
 * - A lane's LOST is set by the lane when its thread ends by itself, or by the caller when it gives the lane up. Such a
 *   lane begins no further record and stores nothing that others wait for: it stores STARTED, then loads LOST; the caller
 *   stores LOST, then loads STARTED. Either the lane stops, or the caller counts the record as begun. Only when the
 *   thread has ended does the word become 0, for the thread that takes its place.
 *
 * Nobody waits without a second look: the caller of a synchronous step, which hears of no thread's end, for as long as
 * its patience; lanes at a barrier until ABORT, as their caller's end is theirs. Those that wait for the bell have nothing
 * else to do.
 */
export const GENERATION = 0;
export const DONE_COUNT = 1;
export const ARRIVED = 2;
export const ABORT = 3;
const CLOSED = 4;
const LANES_AT = 16;
/** One cache line a lane. */
const LANE_STRIDE = 16;
const LANE_DONE = 0;
const LANE_STARTED = 1;
const LANE_COMPLETED = 2;
const LANE_LOST = 3;

/** Spins at the barrier before sleeping: phases usually end within a few microseconds of each other. */
const SPINS = 2_000;

export class Control {
  readonly words: Int32Array;

  constructor(readonly buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
  }

  static create(lanes: number): Control {
    return new Control(new SharedArrayBuffer(4 * (LANES_AT + LANE_STRIDE * lanes)));
  }

  generation(): number {
    return Atomics.load(this.words, GENERATION);
  }

  /** Starts a program: resets the counters, then publishes a new generation and wakes every lane. */
  ring(lanes: number, callerIsLaneZero: boolean): number {
    for (let lane = 0; lane < lanes; lane++) {
      Atomics.store(this.words, this.#lane(lane) + LANE_STARTED, 0);
      Atomics.store(this.words, this.#lane(lane) + LANE_COMPLETED, 0);
    }
    Atomics.store(this.words, DONE_COUNT, 0);
    Atomics.store(this.words, ARRIVED, 0);
    Atomics.store(this.words, ABORT, 0);
    const next = ((this.generation() & ~1) + 2) | (callerIsLaneZero ? 1 : 0) | 0;
    Atomics.store(this.words, GENERATION, next);
    Atomics.notify(this.words, GENERATION);
    return next;
  }

  /** Tells every lane to leave its loop. */
  shutDown(): void {
    Atomics.store(this.words, CLOSED, 1);
    Atomics.add(this.words, GENERATION, 2);
    Atomics.notify(this.words, GENERATION);
  }

  get isClosed(): boolean {
    return Atomics.load(this.words, CLOSED) === 1;
  }

  /** Notes that a record begins; false for a lane that was given up. */
  started(lane: number, index: number): boolean {
    Atomics.store(this.words, this.#lane(lane) + LANE_STARTED, index + 1);
    return !this.isLost(lane);
  }

  completed(lane: number, index: number): void {
    Atomics.store(this.words, this.#lane(lane) + LANE_COMPLETED, index + 1);
  }

  /** Records that a lane began and ended, for damage reports. */
  progressOf(lane: number): { started: number; completed: number } {
    return {
      started: Atomics.load(this.words, this.#lane(lane) + LANE_STARTED),
      completed: Atomics.load(this.words, this.#lane(lane) + LANE_COMPLETED),
    };
  }

  /** A number that changes while lanes get on. */
  progress(lanes: number): number {
    let sum = Atomics.load(this.words, DONE_COUNT) + Atomics.load(this.words, ARRIVED);
    for (let lane = 0; lane < lanes; lane++)
      sum += Atomics.load(this.words, this.#lane(lane) + LANE_COMPLETED);
    return sum;
  }

  /**
   * A lane's last stores for a program. The last lane wakes the caller; after a loss every lane does, because
   * the count can no longer be reached. The caller sets ABORT before it reads DONE_COUNT, a lane adds to
   * DONE_COUNT before it reads ABORT: one of the two always sees the other.
   */
  finish(lane: number, generation: number, lanes: number): void {
    if (this.isLost(lane)) return;
    Atomics.store(this.words, this.#lane(lane) + LANE_DONE, generation);
    const done = Atomics.add(this.words, DONE_COUNT, 1) + 1;
    if (done >= lanes || this.isGivenUp) Atomics.notify(this.words, DONE_COUNT);
  }

  isDone(lane: number, generation: number): boolean {
    return Atomics.load(this.words, this.#lane(lane) + LANE_DONE) === generation;
  }

  isLost(lane: number): boolean {
    return Atomics.load(this.words, this.#lane(lane) + LANE_LOST) === 1;
  }

  /** A lane ends by itself, or is given up: nobody is to wait for it. */
  lose(lane: number): void {
    Atomics.store(this.words, this.#lane(lane) + LANE_LOST, 1);
    this.giveUp();
  }

  /** The thread of a lost lane has ended, and another one takes its place. */
  replace(lane: number): void {
    Atomics.store(this.words, this.#lane(lane) + LANE_LOST, 0);
  }

  /** A lane was lost: lanes leave at the next barrier, and the caller looks again at who is done. */
  giveUp(): void {
    Atomics.store(this.words, ABORT, 1);
    Atomics.notify(this.words, ARRIVED);
    Atomics.notify(this.words, DONE_COUNT);
  }

  get isGivenUp(): boolean {
    return Atomics.load(this.words, ABORT) === 1;
  }

  /**
   * Waits until all lanes ended `phase` phases. Returns false when the step was given up.
   * @param isHopeless - asked now and then by the caller, which alone can give the step up; undefined for lanes
   */
  barrier(phase: number, lanes: number, isHopeless?: () => boolean): boolean {
    const target = phase * lanes;
    let arrived = Atomics.add(this.words, ARRIVED, 1) + 1;
    if (arrived >= target) Atomics.notify(this.words, ARRIVED);
    for (let spin = 0; arrived < target && spin < SPINS; spin++) {
      arrived = Atomics.load(this.words, ARRIVED);
    }
    while (arrived < target) {
      if (this.isGivenUp) return false;
      if (isHopeless?.()) {
        this.giveUp();
        return false;
      }
      // The timeout is only a second look at ABORT: it was set and notified between our check and the wait.
      Atomics.wait(this.words, ARRIVED, arrived, 50);
      arrived = Atomics.load(this.words, ARRIVED);
    }
    return !this.isGivenUp;
  }

  #lane(lane: number): number {
    return LANES_AT + LANE_STRIDE * lane;
  }
}
