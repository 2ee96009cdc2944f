import { type MessagePort, threadId } from "node:worker_threads";
import { expose } from "comlink";
import { type KernelChoice, nativeFor } from "../kernels/native.js";
import type { WasmMemory, WasmModule } from "../kernels/webassembly.js";
import { Control, GENERATION } from "./control.js";
import { type LaneProgress, LaneRunner } from "./lane-runner.js";

/** What the pool gives a thread when it makes it a lane. */
export interface LaneAssignment {
  readonly lane: number;
  readonly lanes: number;
  readonly port: MessagePort;
  readonly control: SharedArrayBuffer;
  readonly program: SharedArrayBuffer;
  readonly module: WasmModule;
  readonly kernels: KernelChoice;
  /** The last generation before this lane took part. */
  readonly generation: number;
}

/** The control channel of a lane; rare calls only, steps go through the doorbell. */
export interface LaneControl {
  attachMemory(id: number, memory: WasmMemory): void;
  attachProgram(program: SharedArrayBuffer): void;
}

/**
 * After a program a lane sleeps on the doorbell itself for this long, which is quick to wake, then goes back
 * to its event loop, where it also hears the control channel.
 */
const HOT_MILLISECONDS = 2;

/** Piscina task: turns this thread into a lane and returns its id; the lane lives on in the event loop. */
export default function becomeLane(assignment: LaneAssignment): number {
  const { lane, lanes, port, module } = assignment;
  const control = new Control(assignment.control);
  const native = nativeFor(assignment.kernels);
  // Lanes compute for milliseconds on every processor; the event loop must not have to wait for one of them.
  native?.library.giveWay();
  const runner = new LaneRunner(module, native);
  let program = new Float64Array(assignment.program);
  expose(
    {
      attachMemory: (id: number, memory: WasmMemory) => runner.attachMemory(id, memory),
      attachProgram: (buffer: SharedArrayBuffer) => {
        program = new Float64Array(buffer);
      },
    } satisfies LaneControl,
    port as unknown as Parameters<typeof expose>[1],
  );
  const progress: LaneProgress = {
    started: (index) => control.started(lane, index),
    completed: (index) => control.completed(lane, index),
    barrier: (phase) => control.barrier(phase, lanes),
  };
  // After an error, too: a caller that blocks its thread hears of it in no other way.
  process.once("exit", () => control.lose(lane));
  void serve(control, assignment.generation, (generation) => {
    const callerIsLaneZero = (generation & 1) === 1;
    if (callerIsLaneZero && lane === 0) return;
    runner.run(program, lane, progress);
    control.finish(lane, generation, callerIsLaneZero ? lanes - 1 : lanes);
  }).finally(() => port.close());
  return threadId;
}

async function serve(control: Control, first: number, run: (generation: number) => void): Promise<void> {
  let seen = first;
  let hot = false;
  for (;;) {
    const timeout = hot ? HOT_MILLISECONDS : 0;
    if (
      control.generation() === seen &&
      Atomics.wait(control.words, GENERATION, seen, timeout) === "timed-out"
    ) {
      const waiting = Atomics.waitAsync(control.words, GENERATION, seen);
      if (waiting.async) await waiting.value;
    }
    const generation = control.generation();
    if (generation === seen) continue;
    seen = generation;
    if (control.isClosed) return;
    run(generation);
    hot = true;
  }
}
