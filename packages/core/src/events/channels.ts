import { channel } from "node:diagnostics_channel";

/**
 * The names of the diagnostics channels, one for each event. Their messages are the events' payloads.
 *
 * @example
 * import { subscribe } from "node:diagnostics_channel";
 * import { Adagrad, channels, Variable } from "@shardgrad/core";
 * subscribe(channels.build, ({ variables }) => console.log(variables.length)); // 1
 * await new Adagrad().applyGradients([[[1, 2], Variable.zeros([2])]]);
 */
export const channels = {
  build: "shardgrad:build",
  iteration: "shardgrad:iteration",
  emaOverwrite: "shardgrad:emaOverwrite",
  finalize: "shardgrad:finalize",
  error: "shardgrad:error",
  drain: "shardgrad:drain",
  workerLost: "shardgrad:workerLost",
  deviceLost: "shardgrad:deviceLost",
  deviceChanged: "shardgrad:deviceChanged",
} as const;

/** The name of an event, of an optimizer or of a runtime. */
export type EventName = keyof typeof channels;

const open = Object.fromEntries(
  Object.entries(channels).map(([event, name]) => [event, channel(name)]),
) as Record<EventName, ReturnType<typeof channel>>;

export function hasSubscribers(event: EventName): boolean {
  return open[event].hasSubscribers;
}

/** Subscribers that throw are reported by Node as uncaught exceptions, on the next tick. */
export function publish(event: EventName, payload: unknown): void {
  open[event].publish(payload);
}
