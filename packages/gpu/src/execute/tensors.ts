import { dtypeInfo, type SharedArray } from "@shardgrad/workers";
import type { GpuBackend } from "../backend/contract.js";
import { TILE } from "../kernels/table.js";
import { whole } from "./clip-slots.js";
import type { DeviceArrays } from "./device-arrays.js";
import type { Place } from "./device-heap.js";
import { pieceBytes } from "./pieces.js";

/**
 * A tensor of the application's tfjs over an array; or why there can be none, in one line. A tensor begins where its
 * buffer does: an array that shares one moves into a buffer of its own.
 * @throws (rejects) GpuMemoryError: nothing has changed
 */
export async function tensorOver(
  backend: GpuBackend,
  arrays: DeviceArrays,
  shared: SharedArray,
  shape: readonly number[],
): Promise<object | string> {
  const { memory, offset, dtype, count } = shared;
  if (backend.tensorOver === undefined) return `tfjs does not compute on this device (${backend.kind})`;
  if (!backend.dtypes.includes(dtype)) return `${backend.kind} has no ${dtype}`;
  if (count === 0) return "it has no elements";
  const bytes = count * dtypeInfo[dtype].bytes;
  if (bytes > pieceBytes(backend.limits)) {
    return `it has ${bytes} bytes, and a buffer of the device at most ${pieceBytes(backend.limits)}`;
  }
  for (;;) {
    const array = arrays.get(memory, offset);
    if (array !== undefined && arrays.isAlone(array)) {
      arrays.bringUp(array);
      return tensorOrReason(() => backend.tensorOver!(array.pieces[0]!.place.buffer, count, shape));
    }
    const place = arrays.roomAlone(bytes);
    try {
      // Some back ends learn only now that there was no room.
      await backend.finished();
    } catch (error) {
      backend.free(place.buffer);
      throw error;
    }
    // A synchronous call may have moved or dropped it meanwhile.
    if (arrays.get(memory, offset) !== array) {
      backend.free(place.buffer);
      continue;
    }
    if (array?.current) copy(backend, array.pieces[0]!.place, place, shared);
    arrays.moveTo(shared, place);
  }
}

/** A tfjs that cannot make the tensor leaves the device as good as before. */
function tensorOrReason(make: () => object): object | string {
  try {
    return make();
  } catch (error) {
    return `tfjs: ${String(error).split("\n", 1)[0]}`;
  }
}

function copy(backend: GpuBackend, from: Place, to: Place, { dtype, count }: SharedArray): void {
  backend.launch([
    {
      kernel: "copy",
      dtype,
      buffers: [whole(from.buffer), whole(to.buffer)],
      scalars: [from.offset / dtypeInfo[dtype].bytes, 0, count],
      count: Math.ceil(count / TILE),
    },
  ]);
}
