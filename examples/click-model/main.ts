/**
 * Will a flight be late? An online factorization machine as an HTTP service, and a demonstration on flights of 2001.
 * See ../README.md.
 */
import { demonstrate } from "./demonstration.js";
import { report } from "./report.js";
import { Service } from "./service.js";
import { readCommandLine, type ServeCommand, UsageError, usage } from "./settings.js";

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Runs until a signal asks it to end. The handlers stay, so that a second signal does not cut the stop short. */
async function serve({ port, modelFile }: ServeCommand): Promise<void> {
  const asked = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, resolve);
  });
  const service = await Service.start(port, { modelFile });
  print(`listening on ${service.url}`);
  print(`${await asked}: stopping`);
  await service.stop();
  const { stream, queue } = service.metrics();
  print(`stopped: ${stream.events} events learned, ${queue} left in the queue`);
}

try {
  const command = readCommandLine(process.argv.slice(2));
  if (command.kind === "help") print(usage);
  else if (command.kind === "serve") await serve(command);
  else {
    print(`${command.events.toLocaleString("en")} flights through a service on loopback\n`);
    print(report(await demonstrate(command)));
  }
} catch (error) {
  if (!(error instanceof Error)) throw error;
  // A wrong option needs its usage, anything else its stack.
  const isUsage =
    error instanceof UsageError || ("code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"));
  process.stderr.write(`${isUsage ? `${error.message}\n\n${usage}` : error.stack}\n`);
  process.exitCode = 1;
}
