import type { TestedAccelerator } from "./contract.js";
import { FailingTfjs } from "./failing-tfjs.js";
import { troubledTfjs } from "./troubled-tfjs.js";

const failing = await FailingTfjs.load();
const { tf } = failing;

/** tfjs, on its cpu back end. */
export const tfjs: TestedAccelerator = {
  kind: "tfjs",
  description: /tfjs .*with its back end "cpu"/,
  cannot: {
    float64: "tfjs has no float64",
    lazy: "tables with lazy averages stay on the CPU",
    limits: "tfjs tells no limit of its buffers",
    packing: "tfjs packs no variables: each takes its own ops",
    room: "tfjs does not say how much room there is: an op that throws for want of it is a lost device",
  },
  // tfjs adds the squares of a row in float32.
  exactMeans: false,
  options: { device: "tfjs", tf: failing.module },
  troubled: (_, options) => troubledTfjs(options),
  absent: {
    "no module": {
      prepare: () => ({ tf: undefined }) as object,
      reason: /^tfjs: no `tf` was handed over/,
    },
    "another module": { prepare: () => ({ tf: { add: () => 1 } }), reason: /^tfjs: .* is not tfjs 4/ },
    "a module that does not work": {
      prepare: () => {
        failing.fail("sqrt", 0);
        return {};
      },
      reason: /^tfjs: it does not work: sqrt failed as the test told$/,
    },
  },
  calls: [
    ...["tensor", "keep", "add", "mul", "div", "sqrt", "sub", "reshape"].map((name) => ({ name })),
    ...["gather", "tensorScatterUpdate", "read"].map((name) => ({ name })),
    ...["scatterND", "clone", "concat"].map((name) => ({ name, rare: true })),
  ],
  comingDown: "read",
  fail: (call, after) => failing.fail(call, after),
  get failed() {
    return failing.failed;
  },
  failure: /failed as the test told/,
  async loseForReal() {
    // Takes all tensors away, those of the runtime among them.
    tf.engine().reset();
    await failing.load();
  },
  reset: () => failing.reset(),
  left: () => tf.memory().numTensors,
};
