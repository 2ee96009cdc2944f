const MAX_STRING = 40;
const MAX_ITEMS = 8;

/** The name of an object's constructor, "Object" where it has none that can be read. */
function constructorName(value: object): string {
  try {
    const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
    return typeof name === "string" && name !== "" ? name : "Object";
  } catch {
    return "Object";
  }
}

/** Cuts a string without leaving half of a surrogate pair. */
function cut(text: string): string {
  return text.length <= MAX_STRING ? text : `${text.slice(0, MAX_STRING).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

function isPlain(value: unknown): boolean {
  return value === null || (typeof value !== "object" && typeof value !== "function");
}

/**
 * Prints a value for an error message, always short: a typed array as `Float32Array(3)`, a long string cut,
 * a short list of plain values in full, any other object by the name of its constructor.
 */
export function formatReceived(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(cut(value));
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "bigint":
      return `${cut(String(value))}n`;
    case "symbol":
      return cut(String(value));
    case "function":
      return value.name === "" ? "a function" : `function ${cut(value.name)}`;
    case "object":
      break;
    default:
      return String(value);
  }
  if (value === null) return "null";
  if (Array.isArray(value)) {
    const short = value.length <= MAX_ITEMS && value.every(isPlain);
    return short ? `[${value.map(formatReceived).join(", ")}]` : `Array(${value.length})`;
  }
  if (ArrayBuffer.isView(value) && "length" in value) return `${constructorName(value)}(${value.length})`;
  return cut(constructorName(value));
}

/** Prints a number as Python prints a float: 1 is `1.0`, 1e-7 is `1e-07`. For messages that Keras words. */
export function formatPythonFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [digits = "", power = "0"] = value.toExponential().split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 16) return Number.isInteger(value) ? `${value}.0` : String(value);
  return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}
