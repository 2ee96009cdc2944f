import fc from "fast-check";
import { test } from "vitest";
import type { ReferenceOptions } from "../support/reference.js";
import { variedRuntimes } from "../support/runtimes.js";
import { expectSameState, type State } from "../support/state.js";
import { Twin } from "../support/twin.js";
import { dtype, exactOptions, Filler, mode, palette, seed } from "./arbitraries.js";

/**
 * Neither the number of threads nor the cut of variables into memories changes a bit, norms included.
 * The variables are large enough to be cut, into pieces that are no multiple of anything.
 */

const runtimes = variedRuntimes();

const clipping: fc.Arbitrary<ReferenceOptions> = fc.constantFrom(
  {},
  { clipnorm: 1 },
  { globalClipnorm: 1 },
  { clipvalue: 0.5 },
);

test("every device and every cut give identical bits", () =>
  fc.assert(
    fc.asyncProperty(
      fc.tuple(fc.integer({ min: 2000, max: 9000 }), fc.integer({ min: 1, max: 9 })),
      fc.integer({ min: 0, max: 20_011 }),
      dtype,
      exactOptions,
      clipping,
      palette,
      seed,
      mode,
      async (table, vector, type, options, clip, numbers, from, how) => {
        const states: State[] = [];
        for (const { runtime } of runtimes) {
          const filler = new Filler(numbers, from);
          const twin = new Twin(runtime, { ...options, ...clip });
          twin.add(table, filler.values(table[0] * table[1]), type);
          twin.add([vector], filler.values(vector), type);
          const [first, second] = twin.oracles as [never, never];
          await twin.step([filler.dense(first), filler.dense(second)], { mode: how });
          await twin.step([filler.slices(first, 400), filler.dense(second)], { mode: how });
          states.push(twin.state());
          twin.dispose();
        }
        for (const [i, state] of states.entries())
          expectSameState(state, states[0]!, `${runtimes[i]!.name}:`);
      },
    ),
    { numRuns: 20 },
  ));
