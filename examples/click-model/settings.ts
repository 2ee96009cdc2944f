/** How the command line is read. */
import { parseArgs } from "node:util";

export interface CommandLine {
  readonly serve: boolean;
  readonly port: number;
  readonly modelFile: string | undefined;
  readonly events: number;
}

/** The command line cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const usage = `usage: main.js [--events N]
       main.js --serve [--port N] [--model FILE]
  without --serve  starts the service, streams flights through it, prints how it did, and stops it
  --events N       flights to stream, up to 3,000,000 (default 600,000)
  --serve          only the service, on 127.0.0.1, until SIGTERM or SIGINT
  --port N         its port (default 8080; 0 takes any free one)
  --model FILE     continue from the model in FILE if it is there, and save it there at the end`;

function wholeNumber(option: string, text: string, minimum: number, maximum: number): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw new UsageError(
      `--${option} must be a whole number from ${minimum} to ${maximum}, not ${JSON.stringify(text)}`,
    );
  }
  return value;
}

/** Undefined when help is asked for. @throws UsageError, TypeError of parseArgs */
export function readCommandLine(args: readonly string[]): CommandLine | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      serve: { type: "boolean", default: false },
      port: { type: "string", default: "8080" },
      model: { type: "string" },
      events: { type: "string", default: "600000" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  return {
    serve: values.serve,
    port: wholeNumber("port", values.port, 0, 65_535),
    modelFile: values.model,
    events: wholeNumber("events", values.events, 1000, 3_000_000),
  };
}
