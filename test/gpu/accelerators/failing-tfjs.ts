import { type Tfjs, tfWith } from "../../support/tfjs.js";

type Operation = (...values: unknown[]) => unknown;

/** A tfjs, on its cpu back end, of which functions fail when a test says so. */
export class FailingTfjs {
  /** The module: without the one that it has within itself, which would be taken in place of a broken one. */
  readonly module: object;
  readonly tf: Tfjs;
  #call = "";
  #after = 0;
  #failed = false;

  static async load(): Promise<FailingTfjs> {
    return new FailingTfjs(await tfWith("cpu"));
  }

  private constructor(tf: Tfjs) {
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

  get failed(): boolean {
    return this.#failed;
  }

  fail(call: string, after: number): void {
    this.#call = call;
    this.#after = after;
  }

  reset(): void {
    this.#call = "";
    this.#failed = false;
  }

  #wrapped(name: string, original: Operation): Operation {
    return (...values) => {
      if (name === this.#call && this.#after-- === 0) {
        this.#call = "";
        this.#failed = true;
        const error = new Error(`${name} failed as the test told`);
        if (name === "read") return Promise.reject(error);
        throw error;
      }
      return original(...values);
    };
  }
}
