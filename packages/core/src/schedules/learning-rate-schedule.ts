/** What a schedule needs to be made again, in Keras' spelling (snake_case). */
export type ScheduleConfig = Record<string, unknown>;

/**
 * A learning rate that depends on the step: the base of the six schedules here and of your own.
 *
 * A subclass has `call` and `getConfig`. Its `fromConfig` is inherited when the constructor takes the object
 * that `getConfig` gives; otherwise it has one of its own.
 *
 * Source: Keras 2.9.0 `LearningRateSchedule`.
 *
 * @example
 * ```ts
 * import { Adagrad, LearningRateSchedule } from "@shardgrad/core";
 *
 * class Reciprocal extends LearningRateSchedule {
 *   #rate;
 *   constructor({ rate }) {
 *     super();
 *     this.#rate = rate;
 *   }
 *   call(step) {
 *     return this.#rate / (step + 1);
 *   }
 *   getConfig() {
 *     return { rate: this.#rate };
 *   }
 * }
 *
 * const optimizer = new Adagrad({ learningRate: new Reciprocal({ rate: 0.5 }) });
 * console.log(optimizer.learningRate); // 0.5
 * ```
 */
export abstract class LearningRateSchedule {
  /**
   * The rate of one step; `step` is the number of steps done before it, so the first step asks for 0.
   * Optimizers round what it gives to float32.
   */
  abstract call(step: number): number;

  /** What `fromConfig` needs to make this schedule again; JSON can carry it. */
  abstract getConfig(): ScheduleConfig;

  /** A schedule from its config. Here: the class called with the config as its only argument. */
  static fromConfig(config: ScheduleConfig): LearningRateSchedule {
    // biome-ignore lint/complexity/noThisInStatic: the class this was called on, a subclass
    const Schedule = this as unknown as new (config: ScheduleConfig) => LearningRateSchedule;
    return new Schedule({ ...config });
  }
}
