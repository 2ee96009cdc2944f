import { Runtime } from "@shardgrad/core";

/** Inline and every pool size that must agree in every bit. */
export const threadCounts = [0, 1, 2, 3, 4] as const;

export function deviceName(threads: number): string {
  return threads === 0 ? "inline" : `${threads} thread${threads === 1 ? "" : "s"}`;
}

/** A runtime whose pool takes every step, however small. */
export function pooled(threads: number, options: { arenaBytes?: number; maxQueue?: number } = {}): Runtime {
  return new Runtime({ threads, inlineThreshold: 0, ...options });
}
