import { parentPort } from "node:worker_threads";
import { Variable } from "@shardgrad/core";

/** Calls a method of an attached variable, or reads a property, and answers with the result or the error's code. */
parentPort.on("message", ({ handle, options, name, args }) => {
  try {
    const member = Variable.attach(handle, options)[name];
    // `Variable.attach` gives a new object: what `this` is does not matter to a property.
    const result = typeof member === "function" ? Variable.attach(handle, options)[name](...args) : member;
    parentPort.postMessage({ result });
  } catch (error) {
    parentPort.postMessage({ code: error.code, message: error.message });
  }
});
