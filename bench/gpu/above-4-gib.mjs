/** Whether kernels reach what lies beyond 4 GiB of a buffer: one row of a table whose bytes no 32-bit number counts. */
import { CLIP_SLOT_ELEMENTS } from "@shardgrad/gpu";
import { EPSILON, LEARNING_RATE } from "../lib/hyper.mjs";
import { stepped, withSquare } from "../lib/reference.mjs";
import { Device } from "./device.mjs";

const BYTES = 6 * 2 ** 30;
const DIM = 64;

/**
 * @param {import("@shardgrad/gpu").CudaBackend} backend
 * @returns {Promise<string>} what to print
 */
export async function above4GiB(backend) {
  const device = new Device(backend);
  const { bufferBytes, bindingBytes } = backend.limits;
  if (Math.min(bufferBytes, bindingBytes) < BYTES || !device.hasRoom(2 * BYTES + 2 ** 20)) {
    return `left out: it takes ${(2 * BYTES) / 2 ** 30} GiB of the device's memory`;
  }
  const [variable, accumulator] = [device.room(BYTES), device.room(BYTES)];
  // The last row, and the one that lies 2^32 bytes before it: nothing may be written there.
  const row = BYTES / (4 * DIM) - 1;
  const [last, before] = [row * 4 * DIM, row * 4 * DIM - 2 ** 32];
  const [start, sum, gradient] = [0.5, Math.fround(0.1), Math.fround(0.01)];
  backend.upload(variable.buffer, last, new Float32Array(DIM).fill(start));
  backend.upload(accumulator.buffer, last, new Float32Array(DIM).fill(sum));
  const buffers = {
    variable,
    accumulator,
    values: device.uploaded(new Float32Array(DIM).fill(gradient)),
    order: device.uploaded(Uint32Array.of(0)),
    // A header, and the one group: see HEADER_WORDS and ROW_GROUP_WORDS.
    rowGroups: device.uploaded(Uint32Array.of(2, 3, 0, 0, 0, 0, 0, 0, row, 0, 1, 0)),
    clips: device.room(4 * CLIP_SLOT_ELEMENTS),
  };
  const target = device.room(4 * DIM);
  const gathered = { source: variable, rows: device.uploaded(Uint32Array.of(row)), target };
  device.launch(
    device.command(
      "adagradRows",
      buffers,
      { rowSize: DIM, learningRate: LEARNING_RATE, epsilon: EPSILON },
      1,
    ),
    device.command("gather", gathered, { rowSize: DIM, sourceOffset: 0 }, 1),
  );
  const newSum = withSquare(sum, gradient);
  const expected = stepped(start, newSum, gradient);
  const read = async (
    /** @type {import("@shardgrad/gpu").Binding} */ { buffer },
    /** @type {number} */ offset,
  ) => {
    const values = new Float32Array(DIM);
    await backend.download(buffer, offset, values);
    return values;
  };
  const found = {
    weights: (await read(variable, last)).every((value) => value === expected),
    sums: (await read(accumulator, last)).every((value) => value === newSum),
    gathered: (await read(target, 0)).every((value) => value === expected),
    "4 GiB before": (await read(variable, before)).every((value) => value === 0),
  };
  await device.clear();
  const wrong = Object.keys(found).filter((name) => !found[/** @type {keyof typeof found} */ (name)]);
  return wrong.length === 0 ? "same bits" : `FAILED: ${wrong.join(", ")}`;
}
