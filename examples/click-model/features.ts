/** An event as rows of the model's table: one row for each field, named by hashing the field's value. */

import type { HashedIds } from "@shardgrad/core";
import type { Flight } from "./flights.js";

/** The fields, in the order of an event's rows: first the plain ones, then crosses of two or three of them. */
export const fieldNames = [
  "origin",
  "destination",
  "hour",
  "weekday",
  "distance",
  "date",
  "route",
  "origin, hour",
  "destination, hour",
  "route, weekday",
  // What happens today: weather and congestion show in the flights that landed earlier on the same day.
  "date, hour",
  "origin, date",
  "destination, date",
  "origin, date, hour",
] as const;

/** The plain fields, of which the factorization machine forms the pairs. */
export const pairedFields = 6;
export const fieldCount = fieldNames.length;

/** Writes the rows of one event to `rows`, from `offset` on. */
export function writeRows(flight: Flight, ids: HashedIds, rows: Int32Array, offset = 0): void {
  const { departure, origin, destination, distance } = flight;
  const date = departure.slice(0, 10);
  const hour = departure.slice(11, 13);
  const weekday = String(new Date(`${date}T00:00Z`).getUTCDay());
  const route = `${origin}-${destination}`;
  const values = [
    origin,
    destination,
    hour,
    weekday,
    String(Math.round(2 * Math.log2(distance + 1))),
    date,
    route,
    `${origin} ${hour}`,
    `${destination} ${hour}`,
    `${route} ${weekday}`,
    `${date} ${hour}`,
    `${origin} ${date}`,
    `${destination} ${date}`,
    `${origin} ${date} ${hour}`,
  ];
  for (let field = 0; field < fieldCount; field++) {
    rows[offset + field] = ids.rowOf(values[field]!, fieldNames[field]);
  }
}

/** The rows of several events, one event after the other. */
export function rowsOf(flights: readonly Flight[], ids: HashedIds): Int32Array {
  const rows = new Int32Array(flights.length * fieldCount);
  for (let i = 0; i < flights.length; i++) writeRows(flights[i]!, ids, rows, i * fieldCount);
  return rows;
}
