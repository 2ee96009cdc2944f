import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";

export type TfBackend = "cpu" | "wasm";
export type Tfjs = typeof tf;

/** The tfjs of these tests with a back end set; all of them share it, as the parts of an application do. */
export async function tfWith(backend: TfBackend): Promise<Tfjs> {
  // Without its advice to install something faster.
  tf.enableProdMode();
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no back end ${backend} here.`);
  return tf;
}
