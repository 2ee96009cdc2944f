import { expect, test } from "vitest";
import { IntegerKeys } from "../../../packages/core/dist/ids/integer-keys.js";

test("ids in shared memory are copied: a thread that changes one later does not part it from its hash", () => {
  const ids = new BigInt64Array(new SharedArrayBuffer(16)).fill(5n);
  const keys = new IntegerKeys(4, true);
  const batch = keys.read(ids);
  const hash = keys.hashOf(batch, 1);
  ids[1] = 6n;
  expect(keys.hashOf(batch, 1)).toBe(hash);
  expect([...new BigInt64Array(batch.buffer)]).toEqual([5n, 5n]);
});
