import { setImmediate } from "node:timers/promises";

/** Runs `action` and returns the messages of the Shardgrad warnings it caused, in order. */
export async function warningsOf(action: () => unknown): Promise<string[]> {
  const messages: string[] = [];
  const listen = (warning: Error) => {
    if (warning.name === "ShardgradWarning") messages.push(warning.message);
  };
  await setImmediate(); // let the warnings of earlier work arrive first
  process.on("warning", listen);
  try {
    await action();
  } catch {
    // the caller looks at the error elsewhere
  }
  await setImmediate(); // warnings are emitted on the next tick
  process.off("warning", listen);
  return messages;
}
