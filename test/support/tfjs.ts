import { createRequire } from "node:module";
import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { hasTfjsNode, tfjsNodeProject } from "./tfjs-node.js";

/** `tensorflow` is tfjs-node's; `webgpu` computes on a software driver. */
export type TfBackend = "cpu" | "wasm" | "tensorflow" | "webgpu";
export type Tfjs = typeof tf;

/** The back ends that can be had here. */
export const tfBackends: readonly TfBackend[] = hasTfjsNode ? ["cpu", "wasm", "tensorflow"] : ["cpu", "wasm"];

/** A tfjs of these tests with a back end set; all of them share it, as the parts of an application do. */
export async function tfWith(backend: TfBackend): Promise<Tfjs> {
  if (backend === "tensorflow") {
    process.env.TF_CPP_MIN_LOG_LEVEL = "3";
    return createRequire(tfjsNodeProject)("@tensorflow/tfjs-node") as Tfjs;
  }
  // Without its advice to install something faster.
  tf.enableProdMode();
  if (backend === "webgpu") await (await import("./tfjs-webgpu.js")).registerWebGpu(tf);
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no back end ${backend} here.`);
  return tf;
}
