import { describe } from "vitest";
import { describeHappenings } from "./describe-happenings.js";
import { troubledTfjs } from "./troubled-tfjs.js";

describe("on tfjs", () => {
  // The means of rows are rounded otherwise there: the contract suite has them, with a tolerance.
  describeHappenings(troubledTfjs, { accumulators: ["elementwise"], hasLazy: false });
});
