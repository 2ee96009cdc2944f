import { type Tfjs, tfWith } from "../../support/tfjs.js";
import { FailingCalls } from "./failing-calls.js";

type Operation = (...values: unknown[]) => unknown;

/** A tfjs, on its cpu back end, of which functions fail when a test says so. */
export class FailingTfjs extends FailingCalls {
  /** The module: without the one that it has within itself, which would be taken in place of a broken one. */
  readonly module: object;
  readonly tf: Tfjs;

  static async load(): Promise<FailingTfjs> {
    return new FailingTfjs(await tfWith("cpu"));
  }

  private constructor(tf: Tfjs) {
    super();
    this.tf = tf;
    const wrapped = Object.entries(tf).map(([name, value]) => [
      name,
      typeof value === "function" ? this.#wrapped(name, value as Operation) : value,
    ]);
    this.module = { ...Object.fromEntries(wrapped), default: undefined };
    this.#wrapBackend();
  }

  /** Sets the back end again after a reset. */
  async load(): Promise<void> {
    await tfWith("cpu");
    this.#wrapBackend();
  }

  #wrapBackend(): void {
    const backend = this.tf.backend() as unknown as { read: Operation };
    backend.read = this.#wrapped("read", backend.read.bind(backend));
  }

  #wrapped(name: string, original: Operation): Operation {
    return (...values) => this.failIfDue(name, name === "read") ?? original(...values);
  }
}
