import { dtypeInfo, MemoryExhaustedError } from "@shardgrad/workers";
import { ArgumentError, ClosedRuntimeError, OptionError, ShapeError, StateError } from "../errors/index.js";
import { eventLoopTurn } from "../runtime/event-loop-share.js";
import { runtimeInternals } from "../runtime/internals.js";
import { checkOptions } from "../schedules/options.js";
import { fillInParts } from "./fill-in-parts.js";
import type { PreparedRows, RowFollower, RowResize } from "./followers.js";
import { type Initializer, newValues } from "./initializers.js";
import { variableInternals } from "./internals.js";
import { refuseBytes } from "./machine-memory.js";
import { refuseWhenDisposed } from "./read-guard.js";
import { discard, fillsOf, newElements, planResize } from "./resize-plan.js";
import { MOST_ROWS } from "./values.js";
import type { Variable } from "./variable.js";
import { writeWithSlots } from "./writes.js";

/** The options of `resizeRows` and `resizeRowsSync`. */
export interface ResizeOptions {
  /** What new rows start with; default: the variable's own initializer if it was made from one, otherwise zeros. */
  readonly initializer?: Initializer | undefined;
}

/** Resizes behind the steps that were called before, and before those that are called later. */
export async function resizeInTurn(variable: Variable, rows: number, options: ResizeOptions): Promise<void> {
  checkResize(variable, rows, options);
  const { queue, share, placed } = internalsOf(variable);
  await queue.run(async () => {
    const turn = share.turn();
    if (turn !== undefined) await turn;
    const { storage } = variable[variableInternals];
    if (placed?.has(storage.segments)) await placed.leave(storage.segments);
    for (const _ of resize(variable, rows, options)) await eventLoopTurn();
  });
}

export function resizeAtOnce(variable: Variable, rows: number, options: ResizeOptions): void {
  checkResize(variable, rows, options);
  const { queue, placed } = internalsOf(variable);
  if (queue.closed) throw new ClosedRuntimeError();
  if (queue.pending > 0) {
    throw new StateError(`resizeRowsSync: ${queue.pending} steps wait or run; await them first.`);
  }
  placed?.leaveNow(variable[variableInternals].storage.segments);
  for (const _ of resize(variable, rows, options));
}

/** Asks for the next value wherever the event loop may run. Nothing shows before the end. */
function* resize(
  variable: Variable,
  rows: number,
  { initializer }: ResizeOptions,
): Generator<void, void, unknown> {
  refuseWhenDisposed(variable);
  const internals = variable[variableInternals];
  const { storage, followers } = internals;
  if (storage.inUse) throw new StateError(`${variable.name} cannot be resized in the middle of a step.`);
  const before = variable.shape[0]!;
  if (rows === before) return;
  refuseBytes(writtenBytes(variable, rows, initializer));
  storage.hold();
  const prepared = new Map<RowFollower, PreparedRows>();
  let planned: RowResize | undefined;
  try {
    const shape = [rows - before, ...variable.shape.slice(1)];
    const values =
      rows > before ? newValues(initializer ?? internals.initializer, shape, variable.dtype) : undefined;
    planned = withRoom(variable, rows, followers, prepared);
    yield* fillInParts(fillsOf(newElements(storage, planned.plan), values));
    for (const { fills } of [...prepared.values()]) yield* fillInParts(fills);
    refuseWhenDisposed(variable);
    prepareLate(planned, followers, prepared);
  } catch (error) {
    for (const part of prepared.values()) part.discard();
    if (planned !== undefined) discard(storage.memory, planned.plan);
    storage.letGo();
    throw error;
  }
  // Who looks at the variable must find what belongs to each of its rows. Readers look at a variable and its lazy average
  // together: to them it happens at once.
  const { plan } = planned;
  writeWithSlots(variable, () => {
    if (rows < before) internals.publish(rows, plan);
    for (const part of prepared.values()) part.commit();
    if (rows > before) internals.publish(rows, plan);
  });
  storage.letGo();
}

/** Takes all memory: with room for further rows if that is to be had, else without. */
function withRoom(
  variable: Variable,
  rows: number,
  followers: ReadonlySet<RowFollower>,
  prepared: Map<RowFollower, PreparedRows>,
): RowResize {
  try {
    return takeMemory(variable, rows, true, followers, prepared);
  } catch (error) {
    if (!(error instanceof MemoryExhaustedError)) throw error;
    return takeMemory(variable, rows, false, followers, prepared);
  }
}

function takeMemory(
  variable: Variable,
  rows: number,
  generous: boolean,
  followers: ReadonlySet<RowFollower>,
  prepared: Map<RowFollower, PreparedRows>,
): RowResize {
  const { storage, rowSize, header } = variable[variableInternals];
  const plan = planResize(storage, rows * rowSize, rowSize, generous);
  const resize = { before: variable.shape[0]!, rows, rowSize, plan, generous };
  try {
    header.makeRoom(plan.segments.length);
    for (const follower of followers) prepared.set(follower, follower.prepare(resize));
    return resize;
  } catch (error) {
    for (const part of prepared.values()) part.discard();
    prepared.clear();
    discard(storage.memory, plan);
    throw error;
  }
}

/** A slot that a synchronous step made while the new rows were being filled. */
function prepareLate(
  resize: RowResize,
  followers: ReadonlySet<RowFollower>,
  prepared: Map<RowFollower, PreparedRows>,
): void {
  for (const follower of followers) {
    if (prepared.has(follower)) continue;
    const part = follower.prepare(resize);
    prepared.set(follower, part);
    for (const _ of fillInParts(part.fills));
  }
}

function checkResize(variable: Variable, rows: unknown, options: ResizeOptions): void {
  refuseWhenDisposed(variable);
  const { name, shape } = variable;
  const { model, rowSize } = variable[variableInternals];
  if (model !== undefined) {
    const expected = `a model variable: a slot has the rows of its own, here ${model.name}`;
    throw new ArgumentError({ argument: "variable", received: name, expected });
  }
  if (shape.length === 0) {
    throw new ShapeError({
      argument: "variable",
      received: name,
      expected: "a variable with rows, not a scalar",
    });
  }
  const valid = typeof rows === "number" && Number.isSafeInteger(rows) && rows >= 0;
  if (!valid || rows > MOST_ROWS || !Number.isSafeInteger(rows * rowSize)) {
    throw new ArgumentError({
      argument: "rows",
      received: rows,
      expected: `an integer from 0 to ${MOST_ROWS}`,
    });
  }
  checkOptions("resizeRows", options, { initializer: "initializer" });
  if (isInitializer(options.initializer)) return;
  const expected = '"zeros", "ones" or a function';
  throw new OptionError({ argument: "initializer", received: options.initializer, expected });
}

/** Bytes that a resize writes, slots and all. */
function writtenBytes(variable: Variable, rows: number, initializer: Initializer | undefined): number {
  const { rowSize, followers, ...internals } = variable[variableInternals];
  const isZeros = (initializer ?? internals.initializer) === "zeros";
  let perRow = isZeros ? 0 : rowSize * dtypeInfo[variable.dtype].bytes;
  for (const follower of followers) perRow += follower.writtenPerRow ?? 0;
  return Math.max(0, rows - variable.shape[0]!) * perRow;
}

function isInitializer(value: unknown): boolean {
  return value === undefined || value === "zeros" || value === "ones" || typeof value === "function";
}

function internalsOf(variable: Variable) {
  return variable[variableInternals].runtime[runtimeInternals];
}
