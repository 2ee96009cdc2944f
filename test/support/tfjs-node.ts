import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL("../../.tfjs-node/", import.meta.url);

/** A file from which tfjs-node is found. */
export const tfjsNodeProject = fileURLToPath(new URL("package.json", folder));

/** Whether `scripts/build-tfjs-node.mjs` has built it. */
export const hasTfjsNode = existsSync(
  new URL("node_modules/@tensorflow/tfjs-node/lib/napi-v8/tfjs_binding.node", folder),
);
