/** Nearest neighbours by the cosine of the embeddings: the look a person takes at what was learned. */

/** Words a person recognises, each as the sense that is meant. */
export const wordsToShow: readonly string[] = [
  "piano.n.01",
  "dog.n.01",
  "lion.n.01",
  "oak.n.02",
  "apple.n.01",
  "iron.n.01",
  "tennis.n.01",
  "physics.n.01",
  "France.n.01",
  "Shakespeare.n.01",
  "eat.v.01",
  "happy.a.01",
];

export interface Neighbour {
  readonly entity: number;
  readonly cosine: number;
}

function norm(table: Float32Array, at: number, size: number): number {
  let sum = 0;
  for (let k = 0; k < size; k++) sum += table[at + k]! ** 2;
  return Math.sqrt(sum);
}

/** The `count` rows that point most nearly in the direction of row `entity`, without itself. */
export function nearest(table: Float32Array, size: number, entity: number, count: number): Neighbour[] {
  const own = norm(table, entity * size, size);
  const found: Neighbour[] = [];
  for (let other = 0; other < table.length / size; other++) {
    if (other === entity) continue;
    let product = 0;
    for (let k = 0; k < size; k++) product += table[entity * size + k]! * table[other * size + k]!;
    const cosine = product / (own * norm(table, other * size, size));
    if (found.length === count && !(cosine > found[count - 1]!.cosine)) continue;
    const place = found.findIndex((neighbour) => cosine > neighbour.cosine);
    found.splice(place < 0 ? found.length : place, 0, { entity: other, cosine });
    if (found.length > count) found.pop();
  }
  return found;
}
