/** How the command line is read. */
import { parseArgs } from "node:util";

export interface ServeCommand {
  readonly kind: "serve";
  readonly port: number;
  readonly modelFile: string | undefined;
}

export interface DemonstrateCommand {
  readonly kind: "demonstrate";
  readonly events: number;
  readonly skip: number;
  readonly seed: number;
}

export type Command = ServeCommand | DemonstrateCommand | { readonly kind: "help" };

/** The command line cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const usage = `usage: main.js [--events N] [--skip N] [--seed N]
       main.js --serve [--port N] [--model FILE]
  without --serve  starts the service, streams flights through it, prints how it did, and stops it
  --events N       flights to stream (default 600,000); the log has 3,000,000
  --skip N         flights of the log to leave out before them (default 0)
  --seed N         seed of the model and its hashing (default 1)
  --serve          only the service, on 127.0.0.1, until SIGTERM or SIGINT
  --port N         its port (default 8080; 0 takes any free one)
  --model FILE     continue from the model in FILE if it is there, and save it there at the end`;

const logSize = 3_000_000;

function wholeNumber(option: string, text: string, minimum: number, maximum: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw new UsageError(
      `--${option} must be a whole number from ${minimum} to ${maximum}, not ${JSON.stringify(text)}`,
    );
  }
  return value;
}

/** @throws UsageError, TypeError of parseArgs */
export function readCommandLine(args: readonly string[]): Command {
  const { values } = parseArgs({
    args: [...args],
    options: {
      serve: { type: "boolean", default: false },
      port: { type: "string" },
      model: { type: "string" },
      events: { type: "string" },
      skip: { type: "string" },
      seed: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return { kind: "help" };
  // The demonstration begins with a new model: one that knew these flights already would guess too well.
  for (const option of values.serve ? (["events", "skip", "seed"] as const) : (["port", "model"] as const)) {
    if (values[option] === undefined) continue;
    throw new UsageError(`--${option} goes ${values.serve ? "without" : "with"} --serve only`);
  }
  if (values.serve) {
    const port = wholeNumber("port", values.port ?? "8080", 0, 65_535);
    return { kind: "serve", port, modelFile: values.model };
  }
  const events = wholeNumber("events", values.events ?? "600000", 1000, logSize);
  const skip = wholeNumber("skip", values.skip ?? "0", 0, logSize - events);
  return { kind: "demonstrate", events, skip, seed: wholeNumber("seed", values.seed ?? "1", 0, 2 ** 31 - 1) };
}
