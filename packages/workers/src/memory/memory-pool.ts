import { type DType, dtypeInfo, type TypedArray, viewOf } from "../dtype.js";
import { MemoryExhaustedError } from "../errors.js";
import { Arena, type Block, PAGE, spaceOf } from "./arena.js";

/** A variable, its accumulator, its average and one dense gradient must lie in one memory to be fused. */
export const ARRAYS_BESIDE = 4;
const LARGEST_MEMORY = 65_536 * PAGE;
/** Share of an arena kept free of reservations, for gradients of other variables and scratch. */
const SLACK = 1 / 16;

/** The memory in which one segment of a variable and everything beside it is allocated. */
export interface Home {
  readonly arena: Arena;
  readonly reserved: number;
  /** Of that, for one gradient. */
  readonly gradientBytes: number;
  users: number;
  /** Whether the room for a gradient is lent out. */
  gradientLent: boolean;
}

/** Who is asked where arrays live that may have left for the memory of a device. */
export interface Residency {
  /** The host's copy is about to be seen, and perhaps written. Throws when it is not the current one. */
  hostAccess(memory: number, offset: number): void;
  /** The same for who only reads. */
  hostRead(memory: number, offset: number): void;
  /** Fills the target with the array's current values; undefined when the host's copy has them. */
  read(memory: number, offset: number, target: Uint8Array): Promise<void> | undefined;
  /**
   * The array is no more.
   * @param free - gives its memory back. When a device that is lost would leave it needed, to do steps again, true is
   *   returned, and it is called later
   */
  released(memory: number, offset: number, free?: () => void): boolean;
}

interface WholeMemory {
  /** The memory's length then. */
  readonly bytes: number;
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  readonly float16: Uint16Array;
}

/** All arenas of one runtime. New ones are made as they are needed. */
export class MemoryPool {
  readonly arenas: Arena[] = [];
  /** Set while a device may hold arrays. */
  residency: Residency | undefined;
  readonly #maxBytes: number;
  readonly #owners = new WeakMap<ArrayBufferLike, Arena>();
  /** The buffer that each arena showed last, by its id, and the memory's length then. */
  readonly #shown: { readonly buffer: ArrayBufferLike; readonly bytes: number }[] = [];
  /** Views of all of each memory, by its id. */
  readonly #wholes: WholeMemory[] = [];
  readonly #onArena: (arena: Arena) => void;

  constructor(maxBytes = LARGEST_MEMORY, onArena: (arena: Arena) => void = () => {}) {
    this.#maxBytes = Math.min(Math.max(maxBytes, 2 * PAGE), LARGEST_MEMORY);
    this.#onArena = onArena;
  }

  /** Bytes of WebAssembly memory held, grown space that is free again included. */
  get byteLength(): number {
    return this.arenas.reduce((sum, arena) => sum + arena.byteLength, 0);
  }

  /** Most bytes that one array can have for the arrays beside it to fit as well. */
  get segmentBytes(): number {
    const usable = (this.#maxBytes - PAGE) * (1 - SLACK);
    return Math.floor(usable / ARRAYS_BESIDE / 1.1 / 64) * 64 - 8192;
  }

  /** Makes the first memory now. Threads that start afterwards know it from the start. */
  ensureArena(): void {
    if (this.arenas.length === 0) this.#addArena();
  }

  /**
   * Promises room for an array of `bytes` and the arrays beside it.
   * @param more - bytes of what else is to lie beside them
   */
  reserve(bytes: number, more = 0): Home {
    const each = aloneBytes(bytes);
    // Beyond what a memory has it would find no place in one that is empty, either.
    const most = Math.floor(capacityOf(this.#maxBytes) * (1 - SLACK));
    const all = ARRAYS_BESIDE * each;
    return this.#promise(Math.max(all, Math.min(all + aloneBytes(more), most)), each);
  }

  /**
   * A block for a gradient, and how to give it back. Beside a variable it takes the room that is kept for one
   * gradient; further ones get room of their own, in the same memory where that has some left.
   * @throws MemoryExhaustedError
   */
  lend(bytes: number, beside?: Home): { readonly block: Block; readonly release: () => void } {
    const inside = beside !== undefined && !beside.gradientLent && bytes <= beside.gradientBytes;
    if (!inside) return this.#lendAlone(bytes, beside?.arena);
    const block = this.allocateAt(beside, bytes);
    beside.gradientLent = true;
    const release = () => {
      beside.gradientLent = false;
      this.releaseAt(beside, block);
    };
    return { block, release };
  }

  /** In the `first` memory, or in another one, or in a new one. */
  #lendAlone(bytes: number, first: Arena | undefined): ReturnType<MemoryPool["lend"]> {
    const needed = aloneBytes(bytes);
    const known = first === undefined ? this.arenas : [first, ...this.arenas];
    for (const arena of known.filter((each) => hasRoom(each, needed))) {
      // What nothing was promised to, such as the copied gradients of a step, may lie where there should be room.
      const block = arena.allocate(bytes);
      if (block !== undefined) return this.#lent(arena, needed, block);
    }
    // A memory that is made in vain would stay.
    if (spaceOf(bytes) > capacityOf(this.#maxBytes)) throw new MemoryExhaustedError(bytes);
    const arena = this.#addArena();
    const block = arena.allocate(bytes);
    if (block === undefined) throw new MemoryExhaustedError(bytes);
    return this.#lent(arena, needed, block);
  }

  #lent(arena: Arena, reserved: number, block: Block): ReturnType<MemoryPool["lend"]> {
    arena.reserved += reserved;
    const release = () => {
      arena.release(block);
      arena.reserved -= reserved;
    };
    return { block, release };
  }

  #promise(reserved: number, gradientBytes: number): Home {
    const arena = this.arenas.find((each) => hasRoom(each, reserved)) ?? this.#addArena();
    arena.reserved += reserved;
    return { arena, reserved, gradientBytes, users: 0, gradientLent: false };
  }

  /** A block beside the variable that lives at `home`. @param zero - as of {@link Arena.allocate} */
  allocateAt(home: Home, bytes: number, zero: boolean | number = true): Block {
    const block = home.arena.allocate(bytes, zero);
    if (block === undefined) {
      if (home.users === 0) home.arena.reserved -= home.reserved;
      throw new MemoryExhaustedError(bytes);
    }
    home.users++;
    return block;
  }

  releaseAt(home: Home, block: Block): void {
    home.arena.release(block);
    home.users--;
    if (home.users === 0) home.arena.reserved -= home.reserved;
  }

  view(block: Block, dtype: DType, length = block.byteLength / dtypeInfo[dtype].bytes): TypedArray {
    return viewOf(dtype, this.bufferOf(block.arena), block.offset, length);
  }

  /** The arena's current buffer, remembered so that views of it are recognized later. */
  bufferOf(arena: Arena): ArrayBufferLike {
    const shown = this.#shown[arena.id];
    // A grown shared memory shows a new buffer object over the same bytes; old views stay valid. Asking the memory itself
    // takes longer than copying a small array.
    if (shown?.bytes === arena.byteLength) return shown.buffer;
    const { buffer } = arena.memory;
    this.#shown[arena.id] = { buffer, bytes: arena.byteLength };
    this.#owners.set(buffer, arena);
    return buffer;
  }

  /**
   * A whole memory as elements of a dtype: what copies many small arrays into it need not make a view for each. It must
   * be asked for again after anything that may have made the memory grow.
   */
  wholeOf(arena: Arena, dtype: DType): TypedArray {
    let known = this.#wholes[arena.id];
    if (known === undefined || known.bytes !== arena.byteLength) {
      const buffer = this.bufferOf(arena);
      known = {
        bytes: arena.byteLength,
        float32: new Float32Array(buffer),
        float64: new Float64Array(buffer),
        float16: new Uint16Array(buffer),
      };
      this.#wholes[arena.id] = known;
    }
    return known[dtype];
  }

  /** The arena that a view lies in, if it is one of this pool's. */
  arenaOf(view: ArrayBufferView): Arena | undefined {
    return this.arenaOfBuffer(view.buffer);
  }

  /** The arena that a buffer shows, if this pool handed it out. */
  arenaOfBuffer(buffer: ArrayBufferLike): Arena | undefined {
    return this.#owners.get(buffer);
  }

  #addArena(): Arena {
    const arena = newArena(this.arenas.length, this.#maxBytes);
    this.arenas.push(arena);
    this.#onArena(arena);
    return arena;
  }
}

/** Bytes that blocks can take in a memory of so many. */
function capacityOf(maxBytes: number): number {
  return (Math.floor(maxBytes / PAGE) - 1) * PAGE;
}

function hasRoom(arena: Arena, bytes: number): boolean {
  return arena.reserved + bytes <= arena.capacity * (1 - SLACK);
}

/** @throws MemoryExhaustedError when the process has no address space left for it */
function newArena(id: number, maxBytes: number): Arena {
  try {
    return new Arena(id, maxBytes);
  } catch (error) {
    if (error instanceof RangeError) throw new MemoryExhaustedError(maxBytes);
    throw error;
  }
}

function aloneBytes(bytes: number): number {
  return Math.max(Math.ceil(bytes * 1.05 + 512), spaceOf(bytes));
}
