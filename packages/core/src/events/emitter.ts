import { EventEmitter } from "eventemitter3";
import { ArgumentError } from "../errors/index.js";
import { type EventName, hasSubscribers, publish } from "./channels.js";

type Listener = (payload: never) => unknown;

/**
 * The event bus of an optimizer or a runtime. Listeners cannot hurt training: one that throws, or returns a
 * promise that rejects, is reported through the `error` event (or as a process warning when nobody listens),
 * the other listeners run and the step goes on.
 */
export class SafeEmitter<Events extends { [name in EventName]?: unknown }> {
  readonly #emitter = new EventEmitter<EventName>();
  readonly #events: readonly EventName[];
  /** The guard around each listener, so that `off` finds it again. */
  readonly #guards = new WeakMap<Listener, (payload: unknown) => void>();
  readonly #errorGuards = new WeakMap<Listener, (payload: unknown) => void>();

  /** @param events - those that it emits */
  constructor(events: readonly EventName[]) {
    this.#events = events;
  }

  /**
   * Calls the listener with the payload of each such event from now on.
   * @throws ArgumentError for an event that there is not, or a listener that is no function
   *
   * @example
   * import { Adagrad, Variable } from "@shardgrad/core";
   * const optimizer = new Adagrad();
   * optimizer.on("iteration", ({ iterations, device }) => console.log(iterations, device)); // 1 inline
   * await optimizer.applyGradients([[[1, 2], Variable.zeros([2])]]);
   */
  on<Name extends keyof Events & EventName>(event: Name, listener: (payload: Events[Name]) => unknown): this {
    this.#emitter.on(event, this.#guarded(event, listener));
    return this;
  }

  /** As `on`, for the next such event only. */
  once<Name extends keyof Events & EventName>(
    event: Name,
    listener: (payload: Events[Name]) => unknown,
  ): this {
    this.#emitter.once(event, this.#guarded(event, listener));
    return this;
  }

  /** Takes a listener away; nothing if it is not there. */
  off<Name extends keyof Events & EventName>(
    event: Name,
    listener: (payload: Events[Name]) => unknown,
  ): this {
    this.#emitter.off(event, this.#guarded(event, listener));
    return this;
  }

  /** Takes all listeners of an event away, or of every event. */
  removeAllListeners(event?: keyof Events & EventName): this {
    this.#emitter.removeAllListeners(event);
    return this;
  }

  /** Listeners of an event; subscribers of its diagnostics channel not included. */
  listenerCount(event: keyof Events & EventName): number {
    return this.#emitter.listenerCount(event);
  }

  /** Whether anybody would see the event: its payload need not be built otherwise. */
  wants(event: keyof Events & EventName): boolean {
    return this.#emitter.listenerCount(event) > 0 || hasSubscribers(event);
  }

  emit<Name extends keyof Events & EventName>(event: Name, payload: Events[Name]): void {
    if (hasSubscribers(event)) publish(event, payload);
    this.#emitter.emit(event, payload);
  }

  /** Reports an error that belongs to no step. */
  report(error: unknown): void {
    if (hasSubscribers("error")) publish("error", error);
    if (this.#emitter.listenerCount("error") > 0) this.#emitter.emit("error", error);
    else warn(error);
  }

  #guarded(event: EventName, listener: Listener): (payload: unknown) => void {
    if (!this.#events.includes(event)) {
      throw new ArgumentError({
        argument: "event",
        received: event,
        expected: `one of ${this.#events.join(", ")}`,
      });
    }
    if (typeof listener !== "function") {
      throw new ArgumentError({ argument: "listener", received: listener, expected: "a function" });
    }
    const isError = event === "error";
    const guards = isError ? this.#errorGuards : this.#guards;
    let guard = guards.get(listener);
    if (guard === undefined) {
      // An error listener that fails must not be told of its own failure.
      const failed = isError ? warn : (error: unknown) => this.report(error);
      guard = (payload) => call(listener, payload, failed);
      guards.set(listener, guard);
    }
    return guard;
  }
}

function call(listener: Listener, payload: unknown, failed: (error: unknown) => void): void {
  try {
    const result = listener(payload as never);
    if (isPromise(result)) result.then(undefined, failed);
  } catch (error) {
    failed(error);
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as Promise<unknown> | undefined)?.then === "function";
}

function warn(error: unknown): void {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning(`A listener failed: ${message}`, { type: "ShardgradWarning" });
}
