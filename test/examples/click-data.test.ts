/** Flights, hashing and features of the click-model example. */

import { HashedIds } from "@shardgrad/core";
import { describe, expect, it } from "vitest";
import { fieldCount, rowsOf, writeRows } from "../../examples/dist/click-model/features.js";
import { FlightDataError, parseFlight, readFlights } from "../../examples/dist/click-model/flights.js";

const row = {
  date: new Date("2001-03-04T05:06Z"),
  delay: 15n,
  distance: 2176n,
  origin: "LAS",
  destination: "PHL",
};

describe("a row of the file", () => {
  it("becomes a flight, late from 15 minutes on", () => {
    const flight = { departure: "2001-03-04T05:06", origin: "LAS", destination: "PHL", distance: 2176 };
    expect(parseFlight(row)).toEqual({ ...flight, late: true });
    expect(parseFlight({ ...row, delay: 14n })).toEqual({ ...flight, late: false });
    expect(parseFlight({ ...row, delay: -20n }).late).toBe(false);
  });

  it.each([
    ["date", "2001-03-04"],
    ["date", new Date(Number.NaN)],
    ["delay", null],
    ["delay", 1.5],
    ["origin", "LASX"],
    ["destination", undefined],
  ])("is refused with %s %s", (column, value) => {
    expect(() => parseFlight({ ...row, [column]: value })).toThrow(FlightDataError);
    expect(() => parseFlight({ ...row, [column]: value })).toThrow(column);
  });
});

it("reads the first flights of the real log in the order of departure", async () => {
  const flights = await readFlights(20_000);
  expect(flights).toHaveLength(20_000);
  expect(flights[0]).toMatchObject({ departure: "2001-01-01T00:01", distance: 2176, late: true });
  const departures = flights.map(({ departure }) => departure);
  expect(departures).toEqual(departures.toSorted());
  const late = flights.filter((flight) => flight.late).length / flights.length;
  expect(late).toBeGreaterThan(0.1);
  expect(late).toBeLessThan(0.5);
});

it("reads on after flights that are left out, up to the end of the log", async () => {
  const flights = await readFlights(120);
  expect(await readFlights(20, 100)).toEqual(flights.slice(100));
  expect(await readFlights(20, 2_999_990)).toHaveLength(10);
});

it("gives flights of the same day and airport the rows they share", () => {
  const ids = new HashedIds({ buckets: 2 ** 30, seed: 1 });
  const first = parseFlight(row);
  const second = { ...first, departure: "2001-03-04T07:00", destination: "BOS", distance: 2381 };
  const rows = rowsOf([first, second], ids);
  expect(rows).toHaveLength(2 * fieldCount);
  expect(new Set(rows.subarray(0, fieldCount)).size).toBe(fieldCount);
  const shared = [...rows.subarray(0, fieldCount)].filter((at, i) => at === rows[fieldCount + i]);
  // Origin, weekday, distance (to a quarter of a factor of two), date, and origin with date.
  expect(shared).toHaveLength(5);
  const alone = new Int32Array(fieldCount);
  writeRows(second, ids, alone);
  expect(alone).toEqual(rows.slice(fieldCount));
});
