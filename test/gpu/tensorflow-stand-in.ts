import type { Tfjs } from "../support/tfjs.js";

type Tensor = ReturnType<Tfjs["tensor"]>;

/** A variable of the stand-in; handles name it. */
interface Variable {
  shape: readonly number[];
  values: Float32Array;
}

const binding = {
  TF_FLOAT: 1,
  TF_INT32: 3,
  TF_ATTR_STRING: 10,
  TF_ATTR_BOOL: 13,
  TF_ATTR_TYPE: 14,
  TF_ATTR_SHAPE: 15,
};

/**
 * A tfjs whose back end runs the ops on resource variables by name, as tfjs-node's does, for machines that have not
 * built that. The rest is a tfjs with the cpu back end.
 */
export function tensorFlowStandIn(tf: Tfjs) {
  const variables = new Map<number, Variable>();
  let made = 0;
  const variableOf = (handle: Tensor) => {
    const found = variables.get(handle.dataSync()[0]!);
    if (found === undefined) throw new Error("Resource does not exist.");
    return found;
  };
  const matching = (name: string, attributes: { name: string; type: number; value: unknown }[]) => {
    const expected: Record<string, [type: number, value?: unknown]> = {
      dtype: [binding.TF_ATTR_TYPE, binding.TF_FLOAT],
      Tindices: [binding.TF_ATTR_TYPE, binding.TF_INT32],
      container: [binding.TF_ATTR_STRING, ""],
      shared_name: [binding.TF_ATTR_STRING],
      shape: [binding.TF_ATTR_SHAPE],
      ignore_lookup_error: [binding.TF_ATTR_BOOL, true],
    };
    for (const { name: attribute, type, value } of attributes) {
      const [rightType, right = value] = expected[attribute]!;
      if (type !== rightType || value !== right) throw new Error(`${name}: bad attribute ${attribute}`);
    }
  };
  const elementwise = (change: (a: number, b: number) => number) => (handle: Tensor, matrix: Tensor) => {
    const { values } = variableOf(handle);
    const by = matrix.dataSync();
    for (let i = 0; i < values.length; i++) values[i] = change(values[i]!, by[i]!);
  };
  const ops: Record<string, (...inputs: Tensor[]) => unknown> = {
    VarHandleOp: () => {
      variables.set(++made, { shape: [], values: new Float32Array(0) });
      return tf.tensor([made], [1], "int32");
    },
    AssignVariableOp: (handle, matrix) => {
      Object.assign(variableOf(handle!), { shape: matrix!.shape, values: matrix!.dataSync().slice() });
    },
    AssignAddVariableOp: (handle, matrix) => elementwise((a, b) => a + b)(handle!, matrix!),
    AssignSubVariableOp: (handle, matrix) => elementwise((a, b) => a - b)(handle!, matrix!),
    ReadVariableOp: (handle) => {
      const { values, shape } = variableOf(handle!);
      return tf.tensor(values.slice(), [...shape], "float32");
    },
    ResourceGather: (handle, rows) => {
      const { values, shape } = variableOf(handle!);
      const columns = shape[1]!;
      const gathered = [...rows!.dataSync()].flatMap((row) => [
        ...values.slice(row * columns, (row + 1) * columns),
      ]);
      return tf.tensor(Float32Array.from(gathered), [rows!.size, columns], "float32");
    },
    ResourceScatterUpdate: (handle, rows, updates) => {
      const { values, shape } = variableOf(handle!);
      const columns = shape[1]!;
      const given = updates!.dataSync();
      rows!.dataSync().forEach((row, i) => {
        for (let k = 0; k < columns; k++) values[row * columns + k] = given[i * columns + k]!;
      });
    },
    DestroyResourceOp: (handle) => {
      variables.delete(handle!.dataSync()[0]!);
    },
  };
  const execute = (name: string, attributes: never[], inputs: Tensor[]) => {
    matching(name, attributes);
    return ops[name]!(...inputs);
  };
  const backend = {
    binding,
    executeSingleOutput: execute,
    executeMultipleOutputs(name: string, attributes: never[], inputs: Tensor[]) {
      execute(name, attributes, inputs);
      return [];
    },
  };
  const standIn = { ...tf, default: undefined, getBackend: () => "tensorflow", backend: () => backend };
  return { tf: standIn as unknown as Tfjs, variablesLeft: () => variables.size };
}
