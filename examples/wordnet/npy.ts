/**
 * NumPy's .npy format, version 1.0, for little-endian float32 tables: numpy.load reads them, and a reader is a few
 * lines in any language. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { readFile, writeFile } from "node:fs/promises";
import { endianness } from "node:os";

const magic = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);

export interface Table {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export function encodeNpy({ shape, data }: Table): Buffer {
  if (endianness() !== "LE") throw new Error("writing .npy files needs a little-endian machine");
  const size = shape.reduce((product, length) => product * length, 1);
  if (size !== data.length) throw new Error(`shape [${shape}] does not hold ${data.length} values`);
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`;
  // Values start at a multiple of 64 bytes; the header is filled with spaces and ends with a newline.
  const start = Math.ceil((magic.length + 2 + text.length + 1) / 64) * 64;
  const bytes = Buffer.alloc(start + 4 * data.length, " ");
  magic.copy(bytes);
  bytes.writeUInt16LE(start - magic.length - 2, magic.length);
  bytes.write(`${text}`, magic.length + 2, "latin1");
  bytes[start - 1] = 0x0a;
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  return bytes;
}

export function decodeNpy(bytes: Buffer): Table {
  if (bytes.length < 10 || !bytes.subarray(0, 8).equals(magic))
    throw new Error("not an .npy file of version 1.0");
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, start);
  const shapeText = /'shape': \(([\d, ]*)\)/.exec(header)?.[1];
  if (shapeText === undefined || !header.includes("'<f4'") || !header.includes("'fortran_order': False")) {
    throw new Error(`not a row-major float32 table: ${header.trim()}`);
  }
  const shape = shapeText
    .split(",")
    .filter((part) => part.trim() !== "")
    .map(Number);
  const size = shape.reduce((product, length) => product * length, 1);
  if (bytes.length !== start + 4 * size)
    throw new Error(`the file is not as long as its shape (${shape}) needs`);
  const data = new Float32Array(size);
  new Uint8Array(data.buffer).set(bytes.subarray(start));
  return { shape, data };
}

export async function saveNpy(path: string, table: Table): Promise<void> {
  await writeFile(path, encodeNpy(table));
}

export async function loadNpy(path: string): Promise<Table> {
  return decodeNpy(await readFile(path));
}
