/** What an action threw, or rejected with; undefined when it succeeded. */
export async function thrownBy(action: () => unknown): Promise<unknown> {
  try {
    await action();
    return undefined;
  } catch (error) {
    return error;
  }
}
