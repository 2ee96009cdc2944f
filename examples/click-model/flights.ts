/** The event log: flights of 2001 in the order of their departure, from the Parquet file in `vega-datasets`. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { decompress } from "fzstd";
import { parquetMetadata, parquetReadObjects } from "hyparquet";

/** What is known when a flight leaves. */
export interface Flight {
  /** Local time of departure, "2001-01-31T23:59". */
  readonly departure: string;
  /** IATA codes. */
  readonly origin: string;
  readonly destination: string;
  /** Miles. */
  readonly distance: number;
}

/** A flight with its outcome, known when it has landed. */
export interface LandedFlight extends Flight {
  readonly late: boolean;
}

/** A flight is late from 15 minutes on: the definition of the U.S. Department of Transportation. */
export const lateMinutes = 15;

/** A row of the file has no right form. */
export class FlightDataError extends Error {
  override readonly name = "FlightDataError";
}

/** A row of the file as a flight. @throws FlightDataError */
export function parseFlight(row: Readonly<Record<string, unknown>>): LandedFlight {
  const { date, delay, distance, origin, destination } = row;
  if (!(date instanceof Date) || Number.isNaN(date.getTime())) throw refusal("date", date, "a date");
  return {
    // The file has local times without a zone, which the reader gives as if they were UTC.
    departure: date.toISOString().slice(0, 16),
    origin: airport("origin", origin),
    destination: airport("destination", destination),
    distance: whole("distance", distance),
    late: whole("delay", delay) >= lateMinutes,
  };
}

function refusal(column: string, received: unknown, expected: string): FlightDataError {
  return new FlightDataError(`${column} is ${String(received)}, expected ${expected}`);
}

function airport(column: string, value: unknown): string {
  if (typeof value !== "string" || !/^[A-Z0-9]{3}$/.test(value)) {
    throw refusal(column, value, "an airport's code of three letters or digits");
  }
  return value;
}

/** The file's integers are of 64 bits, which the reader gives as BigInt. */
function whole(column: string, value: unknown): number {
  const number = typeof value === "bigint" ? Number(value) : value;
  if (!Number.isInteger(number)) throw refusal(column, value, "a whole number");
  return number as number;
}

/** `count` flights in the order of departure, after the first `skip`; fewer if the file has fewer. */
export async function readFlights(count: number, skip = 0): Promise<LandedFlight[]> {
  // The package exports its code alone; its data lies beside it.
  const code = createRequire(import.meta.url).resolve("vega-datasets");
  const bytes = await readFile(join(dirname(code), "../data/flights-3m.parquet"));
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const metadata = parquetMetadata(file);
  const rows = await parquetReadObjects({
    file,
    metadata,
    rowStart: skip,
    rowEnd: Math.min(skip + count, Number(metadata.num_rows)),
    // Node 20 has no Zstandard of its own.
    compressors: { ZSTD: (input: Uint8Array) => decompress(input) },
  });
  return rows.map(parseFlight);
}
