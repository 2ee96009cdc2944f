import { expect, test } from "vitest";
import { VariableHeader, WHOLE } from "../../packages/core/dist/variable/header.js";

const make = () => VariableHeader.create(1, 0, () => true);
const wordOf = (header: VariableHeader) => Atomics.load(header.guard, WHOLE);

test("nothing is written for readers that there are not", () => {
  const header = make();
  header.beginWrite("device");
  header.endWrite("device");
  expect(wordOf(header)).toBe(0);
});

test("who begins to watch in the middle of writes sees them, and their end", () => {
  const header = make();
  header.beginWrite("device");
  header.beginWrite("script");
  header.watch();
  expect(wordOf(header) & 1).toBe(1);
  header.endWrite("script");
  expect(wordOf(header) & 1).toBe(1);
  const during = wordOf(header);
  header.endWrite("device");
  expect(wordOf(header) & 1).toBe(0);
  expect(wordOf(header)).toBeGreaterThan(during);
});

test("watching again changes nothing, later writes show", () => {
  const header = make();
  header.watch();
  header.watch();
  expect(wordOf(header)).toBe(0);
  header.beginWrite("device");
  expect(wordOf(header)).toBe(1);
  header.endWrite("device");
  expect(wordOf(header)).toBe(2);
});

test("who watches a slot sees writes of the variable that it stands beside, and the other way round", () => {
  const model = make();
  const slot = VariableHeader.beside(model, 1);
  model.beginWrite("device");
  slot.watch();
  expect(wordOf(model) & 1).toBe(1);
  model.endWrite("device");
  slot.beginWrite("device");
  expect(wordOf(model) & 1).toBe(0);
  slot.endWrite("device");
});
