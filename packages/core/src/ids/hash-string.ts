import { hashBytes } from "./xxhash64.js";

const encoder = new TextEncoder();
/** Up to this length a loop over ASCII is faster than the encoder. */
const SHORT = 64;
/** Room for longer strings is not kept. */
const KEPT_BYTES = 64 * 1024;
const kept = new Uint8Array(KEPT_BYTES);
const keptView = new DataView(kept.buffer);

/** Writes a short string to `kept` if it is all ASCII; otherwise false. */
function writeAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return false;
    kept[i] = code;
  }
  return true;
}

/** Leaves the hash of a string's UTF-8 bytes in `digest`; half of a surrogate pair is hashed as U+FFFD. */
export function hashString(text: string, seedLow: number, seedHigh: number): void {
  if (text.length <= SHORT && writeAscii(text)) {
    hashBytes(keptView, text.length, seedLow, seedHigh);
  } else if (3 * text.length <= KEPT_BYTES) {
    hashBytes(keptView, encoder.encodeInto(text, kept).written, seedLow, seedHigh);
  } else {
    const bytes = encoder.encode(text);
    hashBytes(new DataView(bytes.buffer, bytes.byteOffset), bytes.length, seedLow, seedHigh);
  }
}
