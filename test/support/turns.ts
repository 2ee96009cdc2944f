/** Turns of the event loop while something is awaited. */
export async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let [turns, running] = [0, true];
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  running = false;
  return turns;
}

/** Lets the event loop turn so many times. */
export async function turnsOfLoop(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}
