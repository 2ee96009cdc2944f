import { describe } from "vitest";
import { describeHappenings } from "./describe-happenings.js";
import { missing, troubledRuntime } from "./software-device.js";

describe.skipIf(missing !== undefined)(`on a device${missing ? ` (${missing})` : ""}`, () => {
  describeHappenings((options) => troubledRuntime({}, options));
});
