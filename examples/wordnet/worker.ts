/** A thread of the team: takes pieces of the current task until none is left, then reports. */
import { parentPort, workerData } from "node:worker_threads";
import { GradientComputer, shardCount } from "./gradients.js";
import { RankComputer, rankingBlocks } from "./ranking.js";
import type { Task, TeamData } from "./team.js";

const { next } = workerData as TeamData;
const port = parentPort!;
let gradients: GradientComputer | undefined;

/** Who takes which piece depends on timing; what comes out does not, since each piece has its own place. */
function takeAll(count: number, compute: (piece: number) => void): void {
  for (;;) {
    const piece = Atomics.add(next, 0, 1);
    if (piece >= count) return;
    compute(piece);
  }
}

port.on("message", (task: Task) => {
  if (task.kind === "job") {
    gradients = new GradientComputer(task.job);
  } else if (task.kind === "gradients") {
    const computer = gradients!;
    takeAll(shardCount, (shard) => computer.compute(task.step, task.first, shard));
  } else {
    const computer = new RankComputer(task.job);
    takeAll(rankingBlocks(task.job), (block) => computer.compute(block));
  }
  port.postMessage("done");
});
