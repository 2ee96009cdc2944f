// Steps of a kind that was there before take its layout: they must give what steps give that are laid out anew.
import type { CudaBackend } from "@shardgrad/gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { averages, clips, Model, type Step, shapes } from "./layout-model.js";
import { stubCuda } from "./stub-cuda.js";

const stub = stubCuda();

type Kind = Pick<Step, "gradients" | "clip" | "average" | "otherEpsilon">;
const gradientKinds = ["none", "dense", "dense", 3, 9] as const;

const kind: fc.Arbitrary<Kind> = fc.record({
  gradients: fc
    .array(fc.constantFrom(...gradientKinds), { minLength: shapes.length, maxLength: shapes.length })
    .map((gradients) =>
      gradients.every((each) => each === "none") ? shapes.map(() => "dense" as const) : gradients,
    ),
  clip: fc.nat(clips.length - 1),
  average: fc.nat(averages.length - 1),
  otherEpsilon: fc.boolean(),
});

/** A kind that differs in one thing, and is easily taken for the same. */
function otherThan(usual: Kind): fc.Arbitrary<Kind> {
  const { gradients, clip, average, otherEpsilon } = usual;
  const withGradient = (at: number) =>
    fc
      .constantFrom(...gradientKinds)
      .filter((each) => each !== gradients[at])
      .map((each) => ({
        ...usual,
        gradients: [...gradients.slice(0, at), each, ...gradients.slice(at + 1)],
      }));
  return fc
    .oneof(
      ...shapes.map((_, i) => withGradient(i)),
      fc
        .integer({ min: 1, max: clips.length - 1 })
        .map((n) => ({ ...usual, clip: (clip + n) % clips.length })),
      fc.integer({ min: 1, max: 2 }).map((n) => ({ ...usual, average: (average + n) % averages.length })),
      ...[1, 2].map(() => fc.constant({ ...usual, otherEpsilon: !otherEpsilon })),
    )
    .filter(({ gradients: own }) => own.some((each) => each !== "none"));
}

/** Steps of two kinds that take turns. */
const steps: fc.Arbitrary<Step[]> = kind
  .chain((usual) => fc.tuple(fc.constant(usual), otherThan(usual)))
  .chain(([usual, other]) => {
    const step = fc.record({
      kind: fc.constantFrom(usual, other),
      rate: fc.constantFrom(0.1, 0.01),
      before: fc.record({
        what: fc.constantFrom<Step["before"]["what"][]>("nothing", "nothing", "nothing", "drop", "write"),
        variable: fc.nat(shapes.length - 1),
      }),
      seed: fc.nat(1000),
    });
    return fc.array(
      step.map(({ kind, ...rest }): Step => ({ ...kind, ...rest })),
      { minLength: 4, maxLength: 10, size: "max" },
    );
  });

describe.skipIf(typeof stub === "string")(
  `layouts that are kept${typeof stub === "string" ? ` (${stub})` : ""}`,
  () => {
    if (typeof stub === "string") return;
    test("any steps give the bits of steps that are laid out anew", async () => {
      stub.reset();
      const backends = [await stub.open(), await stub.open()] as const;
      await fc.assert(
        fc.asyncProperty(steps, async (given) => {
          const [model, anew] = [new Model(backends[0]), new Model(backends[1])];
          for (const each of given) {
            const norms = [await model.run(each), await anew.run(each)];
            expect(norms[0]).toBe(norms[1]);
            await anew.renew();
          }
          await model.bringHome();
          expect(model.values()).toEqual(anew.values());
          for (const each of [model, anew]) each.drop();
        }),
        { numRuns: Number(process.env.SHARDGRAD_TEST_RUNS ?? 20) },
      );
      for (const backend of backends) await backend.close();
      expect(stub.left).toBe(0);
    });

    describe("what goes up", () => {
      let backend: CudaBackend;
      let model: Model;
      const each = (more: Partial<Step> = {}): Step => ({
        gradients: ["dense", "dense", "dense", "dense", "dense"],
        ...{ clip: 2, average: 1, rate: 0.1, otherEpsilon: true, seed: 1 },
        before: { what: "nothing", variable: 0 },
        ...more,
      });
      const uploads = async (given: Step): Promise<number> => {
        const upload = vi.spyOn(backend, "upload");
        await model.run(given);
        const { length } = upload.mock.calls;
        upload.mockRestore();
        return length;
      };

      beforeAll(async () => {
        stub.reset();
        backend = await stub.open();
        model = new Model(backend);
        for (let i = 0; i < 2; i++) await model.run(each());
      });
      afterAll(() => backend.close());

      test("as of the third step of a kind: the gradients, in one copy", async () => {
        expect(await uploads(each({ seed: 2, rate: 0.5 }))).toBe(1);
      });

      test("row numbers among them", async () => {
        const sliced = each({ gradients: ["none", 9, 9, 3, "dense"] });
        for (let i = 0; i < 2; i++) await model.run(sliced);
        expect(await uploads({ ...sliced, seed: 3 })).toBe(1);
        for (let i = 0; i < 2; i++) await model.run(each());
      });

      test.each<[string, Partial<Step>]>([
        ["an epsilon", { otherEpsilon: false }],
        ["the clipping", { clip: 1 }],
        ["averages", { average: 0 }],
        ["a number of slices", { gradients: ["dense", 3, "dense", "dense", "dense"] }],
      ])("tables too, when %s is another", async (_, other) => {
        await model.run(each({ gradients: ["dense", 9, "dense", "dense", "dense"] }));
        expect(await uploads(each(other))).toBe(2);
      });

      test("of other steps of the last kinds too", async () => {
        for (let i = 0; i < 2; i++) await model.run(each({ clip: 1 }));
        expect(await uploads(each({ clip: 1 }))).toBe(1);
        expect(await uploads(each())).toBe(1);
      });

      test("tables again, when an array has another place", async () => {
        // The gradients, the tables, and the values of two variables.
        expect(await uploads(each({ before: { what: "drop", variable: 0 } }))).toBe(2 + 2 * 3);
        await model.run(each());
        expect(await uploads(each())).toBe(1);
      });

      test("an array that the host has written, and nothing else", async () => {
        expect(await uploads(each({ before: { what: "write", variable: 4 } }))).toBe(1 + 3);
      });
    });
  },
);
