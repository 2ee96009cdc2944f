/** Percentiles of durations, to three significant digits. */
import { createHistogram } from "node:perf_hooks";

export interface LatencySummary {
  readonly count: number;
  /** Milliseconds; undefined without durations. */
  readonly p50?: number;
  readonly p99?: number;
}

export class Latency {
  readonly #histogram = createHistogram();

  record(milliseconds: number): void {
    this.#histogram.record(Math.max(1, Math.round(milliseconds * 1e6)));
  }

  summary(): LatencySummary {
    const { count } = this.#histogram;
    if (count === 0) return { count };
    const at = (percentile: number): number => this.#histogram.percentile(percentile) / 1e6;
    return { count, p50: at(50), p99: at(99) };
  }
}
