import type { Runtime } from "@shardgrad/core";
import { afterAll, beforeAll } from "vitest";
import { deviceName, pooled } from "./devices.js";

const KiB = 1024;

/** Devices and memory sizes among which no result may differ. Opened once for the file that calls this. */
export function variedRuntimes(): { name: string; runtime: Runtime }[] {
  const kinds = [
    { threads: 0 },
    { threads: 0, arenaBytes: 512 * KiB },
    { threads: 1, arenaBytes: 512 * KiB },
    { threads: 2, arenaBytes: 1024 * KiB },
    { threads: 3, arenaBytes: 512 * KiB },
    { threads: 4 },
  ];
  const opened = kinds.map(({ threads, ...options }) => ({
    name: `${deviceName(threads)}${options.arenaBytes ? `, memories of ${options.arenaBytes / KiB} KiB` : ""}`,
    runtime: pooled(threads, options),
  }));
  closedAtTheEnd(opened);
  return opened;
}

/** Starts the threads of runtimes before the tests of a file, and closes them after. */
export function closedAtTheEnd(opened: readonly { readonly runtime: Runtime }[]): void {
  beforeAll(async () => {
    for (const { runtime } of opened) await runtime.ready();
  });
  afterAll(async () => {
    for (const { runtime } of opened) await runtime.close();
  });
}
