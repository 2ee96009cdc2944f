#!/usr/bin/env node
/** Prints how to get the peers of the benchmark. Downloads nothing. */
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));

console.log(`The peers are optional: npm run bench measures those that it finds.

PyTorch and Keras/TensorFlow (Python 3.10 to 3.13):
  cd ${folder}
  python3 -m venv .venv
  .venv/bin/pip install -r requirements.txt

TensorFlow.js:
  cd ${folder}
  npm install --ignore-scripts

An environment elsewhere is named by --python PATH (several times, if they live apart) or by the variable
SHARDGRAD_BENCH_PYTHON (several, separated as in PATH):
  npm run bench -- --python /path/to/bin/python`);
