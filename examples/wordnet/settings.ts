/** The two settings of the run, and how its command line is read. */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** How one model is trained. */
export interface Training {
  /** Floats in a row: twice the complex dimension for ComplEx, the dimension for DistMult. */
  readonly rowSize: number;
  readonly maxEpochs: number;
  /** Batches in an epoch. */
  readonly batches: number;
  readonly corruptionsPerSide: number;
  readonly learningRate: number;
  /** The rate after maxEpochs, reached along a straight line; the learning rate itself keeps it constant. */
  readonly finalLearningRate: number;
  readonly initialAccumulatorValue: number;
  readonly l2: number;
  /** Standard deviation of the initial embeddings. */
  readonly initialDeviation: number;
  /** Epochs between validations, which stop training when the MRR no longer rises; 0 never validates. */
  readonly validateEvery: number;
}

export interface Setting {
  readonly name: string;
  readonly complEx: Training;
  readonly distMult: Training;
  /** Held-out triples that are ranked; all of them if there are fewer. */
  readonly testTriples: number;
  readonly validationTriples: number;
}

const short: Training = {
  // Below about 200 floats the ranks are nearly as good, but chance likeness drowns the nearest neighbours.
  rowSize: 200,
  maxEpochs: 20,
  batches: 200,
  corruptionsPerSide: 3,
  learningRate: 0.5,
  finalLearningRate: 0.5,
  initialAccumulatorValue: 0.1,
  l2: 0.003,
  // Much smaller and ComplEx starts too near to its real, symmetric solutions and stays there.
  initialDeviation: 0.1,
  validateEvery: 0,
};

/** Chosen by the validation MRR, as ../README.md tells. */
const full: Training = {
  ...short,
  maxEpochs: 40,
  corruptionsPerSide: 5,
  finalLearningRate: 0.005,
  // Regularisation acts on corrupted rows too, so more of them need less of it.
  l2: 0.0015,
  validateEvery: 10,
};

/** DistMult does best with less regularisation, as validation shows. */
const distMultL2 = 0.001;

export const shortSetting: Setting = {
  name: "short",
  complEx: short,
  distMult: { ...short, l2: distMultL2 },
  testTriples: 1000,
  validationTriples: 1000,
};

export const fullSetting: Setting = {
  name: "full",
  complEx: full,
  // DistMult is at its best after a few epochs, so it is validated more often.
  distMult: { ...full, l2: 0.0003, maxEpochs: 20, validateEvery: 5 },
  testTriples: 5000,
  validationTriples: 1000,
};

export interface CommandLine {
  readonly setting: Setting;
  readonly threads: number;
  readonly seed: number;
  readonly output: string;
}

function wholeNumber(option: string, text: string, minimum: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < minimum) {
    throw new Error(`--${option} must be a whole number of at least ${minimum}, not "${text}"`);
  }
  return value;
}

export const usage = `usage: main.js [--full] [--threads N] [--seed N] [--output DIR]
  --full       the long setting, aimed at the figures of Trouillon et al. 2016
  --threads N  threads of the optimizer and of the gradient workers (default: the machine's cores)
  --seed N     seed of the split, the initial embeddings and the corruptions (default 1)
  --output DIR where results are written (default examples/output)`;

/** Undefined when help is asked for. */
export function readCommandLine(args: readonly string[]): CommandLine | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      full: { type: "boolean", default: false },
      threads: { type: "string" },
      seed: { type: "string", default: "1" },
      output: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return undefined;
  return {
    setting: values.full ? fullSetting : shortSetting,
    threads:
      values.threads === undefined ? availableParallelism() : wholeNumber("threads", values.threads, 1),
    seed: wholeNumber("seed", values.seed, 0),
    // From examples/dist/wordnet to examples/output.
    output: values.output ?? fileURLToPath(new URL("../../output", import.meta.url)),
  };
}
