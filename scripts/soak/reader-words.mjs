/** Words of the array that a reader shares with the main thread: when to stop, and counts of gathers by how they ended. */
export const words = { stop: 0, reads: 1, gone: 2, later: 3, disposed: 4, length: 5 };
