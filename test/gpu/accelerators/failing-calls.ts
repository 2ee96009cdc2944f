/** One call that is to fail: by its name, and after how many that do not. */
export class FailingCalls {
  #call = "";
  #after = 0;
  #failed = false;

  /** Whether it has failed. */
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

  /** Whether this call is the one. */
  protected isDue(call: string): boolean {
    if (call !== this.#call || this.#after-- > 0) return false;
    this.#call = "";
    this.#failed = true;
    return true;
  }

  /** Throws, or rejects where the call gives a promise, if this call is the one. */
  protected failIfDue(call: string, isAsync: boolean): Promise<never> | undefined {
    if (!this.isDue(call)) return undefined;
    const error = new Error(`${call} failed as the test told`);
    if (isAsync) return Promise.reject(error);
    throw error;
  }
}
