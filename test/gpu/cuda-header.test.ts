// The driver's functions as they are declared to koffi, against NVIDIA's header where the machine has it (CUDA toolkit).
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { signatures } from "../../packages/gpu/dist/cuda/driver.js";
import { cppCompiler, stubCudaMissing } from "./stub-cuda-missing.js";

const local = "/usr/local";
const toolkits = existsSync(local) ? readdirSync(local).filter((name) => /^cuda(-|$)/.test(name)) : [];
const include = [process.env.CUDA_HOME, process.env.CUDA_PATH, ...toolkits.map((name) => join(local, name))]
  .flatMap((home) => (home ? [join(home, "include")] : []))
  .find((folder) => existsSync(join(folder, "cuda.h")));
const missing = include === undefined ? "no cuda.h" : stubCudaMissing();

/** What a parameter has to be in C++, by the name that koffi is given. */
const kinds: Readonly<Record<string, string>> = {
  int: "isNumber<P>(4)",
  uint: "isNumber<P>(4)",
  uint8: "isNumber<P>(1)",
  // Handles of the driver are pointers, device addresses and sizes are numbers.
  uint64: "isNumber<P>(8) || std::is_pointer_v<P>",
  "void *": "std::is_pointer_v<P>",
  str: "std::is_same_v<P, const char *> || std::is_same_v<P, const void *>",
};

/** Numbers that this package passes or takes, by their names in the header. */
const numbers: Readonly<Record<string, number>> = {
  CU_DEVICE_ATTRIBUTE_COMPUTE_MODE: 20,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: 76,
  CU_COMPUTEMODE_PROHIBITED: 2,
  CU_JIT_ERROR_LOG_BUFFER: 5,
  CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES: 6,
  CU_STREAM_NON_BLOCKING: 1,
  CU_EVENT_BLOCKING_SYNC: 1,
  CU_EVENT_DISABLE_TIMING: 2,
  CUDA_SUCCESS: 0,
  CUDA_ERROR_OUT_OF_MEMORY: 2,
  CUDA_ERROR_NOT_READY: 600,
  CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED: 712,
};

function program(): string {
  const checks = Object.entries(signatures).flatMap(([name, parameters]) => [
    `using ${name}_t = parameters<decltype(&${name})>;`,
    `static_assert(${name}_t::count == ${parameters.length}, "${name}: number of parameters");`,
    ...parameters.map((kind, i) => {
      const check = kinds[kind]!.replaceAll("<P>", `<${name}_t::at<${i}>>`).replaceAll(
        "<P,",
        `<${name}_t::at<${i}>,`,
      );
      return `static_assert(${check}, "${name}: parameter ${i} is not ${kind}");`;
    }),
  ]);
  return `
    // Declares functions by the names that the library exports, old ones among them.
    #define __CUDA_API_VERSION_INTERNAL
    #include <cuda.h>
    #include <tuple>
    #include <type_traits>
    template <typename F> struct parameters;
    template <typename... P> struct parameters<CUresult (CUDAAPI *)(P...)> {
      static constexpr int count = sizeof...(P);
      template <int I> using at = std::tuple_element_t<I, std::tuple<P...>>;
    };
    template <typename P> constexpr bool isNumber(unsigned bytes) {
      return sizeof(P) == bytes && (std::is_integral_v<P> || std::is_enum_v<P>);
    }
    static_assert(sizeof(CUdeviceptr) == 8 && sizeof(size_t) == 8 && sizeof(CUdevice) == 4 && sizeof(CUjit_option) == 4);
    ${checks.join("\n")}
    ${Object.entries(numbers)
      .map(([name, value]) => `static_assert((int)${name} == ${value}, "${name}");`)
      .join("\n")}
  `;
}

function compile(text: string) {
  const folder = mkdtempSync(join(tmpdir(), "shardgrad-header-"));
  const source = join(folder, "header.cpp");
  writeFileSync(source, text);
  const args = ["-std=c++17", "-fsyntax-only", `-I${include}`, source];
  const { status, stderr } = spawnSync(cppCompiler, args, { encoding: "utf8" });
  rmSync(folder, { recursive: true });
  return { status, stderr };
}

test.skipIf(missing !== undefined)(
  `the driver's functions are declared as in cuda.h${missing === undefined ? "" : ` (${missing})`}`,
  () => {
    expect(compile(program())).toEqual({ status: 0, stderr: "" });
    // The check would see a wrong one.
    const wrong = program().replace(
      "isNumber<cuMemAlloc_v2_t::at<1>>(8)",
      "isNumber<cuMemAlloc_v2_t::at<1>>(4)",
    );
    expect(compile(wrong).status).not.toBe(0);
  },
);
