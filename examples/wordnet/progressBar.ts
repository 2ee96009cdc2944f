/** The bar on the terminal; where there is no terminal (a log, CI), a line every few seconds. */
import cliProgress from "cli-progress";
import type { Progress } from "./trainer.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export class ProgressBar {
  readonly #bar: cliProgress.SingleBar;

  constructor(name: string, steps: number) {
    this.#bar = new cliProgress.SingleBar(
      {
        format: `${name.padEnd(8)} {bar} {percentage}% | loss {loss} | {triples} triples/s | {rate} steps/s | {left} left`,
        hideCursor: true,
        fps: 5,
        noTTYOutput: true,
        notTTYSchedule: 5000,
        barsize: 24,
      },
      cliProgress.Presets.shades_classic,
    );
    this.#bar.start(steps, 0, { loss: "-", triples: "-", rate: "-", left: "-" });
  }

  update({ step, steps, loss, triplesPerSecond, stepsPerSecond }: Progress): void {
    this.#bar.update(step, {
      loss: loss.toFixed(4),
      triples: whole.format(triplesPerSecond),
      rate: whole.format(stepsPerSecond),
      left: `${whole.format((steps - step) / stepsPerSecond)} s`,
    });
  }

  stop(): void {
    this.#bar.stop();
  }
}
