import { spawnSync } from "node:child_process";

export const cppCompiler = process.env.CXX ?? "c++";

/** Whether the tests on CUDA are to run on the machine's own driver and GPU (`SHARDGRAD_TEST_CUDA=driver`). */
export const onRealDriver = process.env.SHARDGRAD_TEST_CUDA === "driver";

/** Why the stand-in for the NVIDIA driver cannot be built here, in one line, or undefined; builds nothing. */
export function stubCudaMissing(): string | undefined {
  if (process.platform !== "linux" && process.platform !== "darwin") return `no stub for ${process.platform}`;
  if (spawnSync(cppCompiler, ["--version"]).status !== 0) return `no C++ compiler (${cppCompiler})`;
  return undefined;
}
