// Runs the tests on the stand-in for the NVIDIA driver with AddressSanitizer and UndefinedBehaviorSanitizer in it:
// `node scripts/sanitize-cuda.mjs [tests]`, after a build. An access of a CUDA kernel outside of its buffers, or one that
// is not aligned, ends a test's process here; on a card it would be a wrong number or a lost device. Linux with GCC; slow.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const compiler = process.env.CXX ?? "c++";
const { stdout } = spawnSync(compiler, ["-print-file-name=libasan.so"], { encoding: "utf8" });
const library = stdout?.trim() ?? "";
if (process.platform !== "linux" || !isAbsolute(library)) {
  console.error(
    `${compiler} has no AddressSanitizer here: GCC on Linux is needed (Debian: apt-get install g++).`,
  );
  process.exit(2);
}

const reports = mkdtempSync(join(tmpdir(), "shardgrad-sanitize-"));
const options = `abort_on_error=1:log_path=${join(reports, "report")}`;
const runs = [
  ["--project", "gpu", "cuda-kernels", "cuda-cpu-kernels", "cuda-grouping", "cuda-order"],
  ["--project", "contract-cuda", "--project", "golden-cuda", "--project", "gpu-cuda"],
];
let status = 0;
for (const tests of process.argv.length > 2 ? [process.argv.slice(2)] : runs) {
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const ended = spawnSync(process.execPath, [vitest, "run", "--testTimeout=600000", ...tests], {
    cwd: root,
    stdio: "inherit",
    env: {
      ...process.env,
      SHARDGRAD_TEST_SANITIZE: "1",
      // Into a process that was not built with it, the sanitizer has to come first. V8 takes care of signals itself.
      LD_PRELOAD: library,
      ASAN_OPTIONS: `${options}:detect_leaks=0:handle_segv=0:handle_sigill=0:allocator_may_return_null=1`,
      UBSAN_OPTIONS: `${options}:print_stacktrace=1`,
    },
  });
  status ||= ended.status ?? 1;
}
for (const name of readdirSync(reports)) {
  console.error(readFileSync(join(reports, name), "utf8"));
  status ||= 1;
}
rmSync(reports, { recursive: true });
process.exit(status);
