// PTX text as C++: every entry becomes a function that one thread runs, so that the very text that the package ships is
// executed on the processor. Only what the kernels use is known; anything else throws.

const cTypes: Record<string, string> = {
  pred: "bool",
  b8: "uint8_t",
  u8: "uint8_t",
  s8: "int8_t",
  b16: "uint16_t",
  u16: "uint16_t",
  b32: "uint32_t",
  u32: "uint32_t",
  s32: "int32_t",
  b64: "uint64_t",
  u64: "uint64_t",
  s64: "int64_t",
  f32: "float",
  f64: "double",
};

const comparisons: Record<string, string> = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

const operators: Record<string, string> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  and: "&",
  or: "|",
  xor: "^",
};

const specials: Record<string, string> = {
  "%tid.x": "ptx.thread",
  "%ntid.x": "ptx.threads",
  "%ctaid.x": "ptx.block",
  "%nctaid.x": "ptx.blocks",
};

/** The functions, and a list of them by name. */
export function ptxToCpp(ptx: string): string {
  const [head, ...entries] = ptx.split(".visible .entry ");
  // Memory of a block that several entries share by name; only one block runs at a time.
  const shared = head!.split("\n").flatMap((line) => sharedMemory(line) ?? []);
  const names = entries.map((entry) => entry.slice(0, entry.indexOf("(")));
  const table = names.map((name) => `{"${name}", PTX, ${name}}`).join(", ");
  return `${[...shared, ...entries.map(entryToCpp)].join("\n")}\nstatic const kernel kernels[] = {${table}};\n`;
}

function entryToCpp(entry: string): string {
  const name = entry.slice(0, entry.indexOf("("));
  const lines = entry
    .slice(entry.indexOf("{") + 1, entry.lastIndexOf("}"))
    .trim()
    .split("\n");
  const declarations: string[] = [];
  const code: string[] = [];
  for (const line of lines) {
    const register = /^\.reg \.(\w+) %(\w+)<(\d+)>;$/.exec(line);
    const shared = sharedMemory(line);
    if (register) {
      const [, type, prefix, count] = register;
      const all = Array.from({ length: Number(count) }, (_, i) => `${prefix}${i} = 0`);
      declarations.push(`  ${cTypes[type!]} ${all.join(", ")};`);
    } else if (shared !== undefined) {
      declarations.push(`  ${shared}`);
    } else if (!line.startsWith(".pragma")) {
      code.push(`  ${statement(line)}`);
    }
  }
  return [`static void ${name}(const arguments &launch) {`, ...declarations, ...code, "  done:;", "}"].join(
    "\n",
  );
}

function sharedMemory(line: string): string | undefined {
  const parsed = /^\.shared \.align \d+ \.(\w+) (\w+)(?:\[(\d+)\])?;$/.exec(line);
  if (parsed === null) return undefined;
  const [, type, symbol, count = 1] = parsed;
  return `alignas(8) static ${cTypes[type!]} ${symbol}[${count}];`;
}

function statement(line: string): string {
  const label = /^\$(\w+):$/.exec(line);
  if (label) return `${label[1]}:;`;
  const unpacked = /^\{ \.reg \.b32 tmp; mov\.b64 \{tmp, %(\w+)\}, %(\w+); \}$/.exec(line);
  if (unpacked) return `${unpacked[1]} = (uint32_t)(${unpacked[2]} >> 32);`;
  const parsed = /^(?:@(!?)%(\w+) )?([\w.]+)(?: (.*))?;$/.exec(line);
  if (!parsed) throw new Error(`PTX: ${line}`);
  const [, not, predicate, operation, operands = ""] = parsed;
  const body = instruction(operation!.split("."), split(operands), line);
  return predicate === undefined ? body : `if (${not}${predicate}) { ${body} }`;
}

/** Operands, with those in braces and brackets as one. */
function split(operands: string): string[] {
  return operands === "" ? [] : operands.split(/,\s*(?![^{]*\})/);
}

function instruction(operation: string[], operands: string[], line: string): string {
  const [name] = operation;
  const type = operation.at(-1)!;
  const [target, ...sources] = operands as [string, ...string[]];
  const [a, b, c] = sources.map((source) => value(source, type));
  const assign = (expression: string) => `${register(target)} = ${expression};`;
  switch (name) {
    case "ret":
      return "goto done;";
    case "bra":
      return `goto ${target.slice(1)};`;
    case "bar":
      // Of a block, or of members of a warp: an exchange of each with itself.
      return operation[1] === "warp" ? `ptxExchange(0, 0, ${value(target, "u32")});` : "ptxBarrier();";
    case "shfl":
      // Lanes stay within segments of eight.
      if (sources[2] !== "6175" || operation[2] !== "bfly") break;
      return assign(`ptxExchange(${a}, ${value(sources[1]!, "u32")}, ${value(sources[3]!, "u32")})`);
    case "ld":
      return load(operation, target, sources[0]!);
    case "st":
      return store(operation, target, sources[0]!);
    case "mov":
      if (cTypes[type] === undefined) break;
      return sources[0]!.startsWith("%") && !specials[sources[0]!] && /^b(32|64)$/.test(type)
        ? `ptxMove(${register(target)}, ${register(sources[0]!)});`
        : assign(a!);
    case "cvt": {
      // From the type named last; a conversion to floating point rounds to nearest.
      const to = operation.at(-2)!;
      return assign(`(${cTypes[to]})(${cTypes[type]})${register(sources[0]!)}`);
    }
    case "setp": {
      const how = operation[1]!;
      if (how === "nan") return assign(`${a} != ${a} || ${b} != ${b}`);
      // An unordered comparison holds for a NaN, as != does in C.
      if (how === "neu") return assign(`${a} != ${b}`);
      if (comparisons[how] === undefined || (how === "ne" && type.startsWith("f"))) break;
      return assign(`${a} ${comparisons[how]} ${b}`);
    }
    case "selp":
      return assign(`${register(sources[2]!)} ? ${a} : ${b}`);
    case "add":
    case "sub":
    case "div":
    case "and":
    case "or":
    case "xor":
      checkRounding(operation, line);
      return assign(`${a} ${operators[name]} ${b}`);
    case "mul":
      if (operation[1] === "wide") {
        const wide = type === "u16" ? "uint32_t" : "uint64_t";
        return assign(`(${wide})${a} * (${wide})${b}`);
      }
      if (operation[1] !== "lo") checkRounding(operation, line);
      return assign(`${a} * ${b}`);
    case "mad":
      if (operation[1] !== "lo") break;
      return assign(`${a} * ${b} + ${c}`);
    case "min":
    case "max":
      if (type.startsWith("f")) break;
      return assign(`${a} ${name === "min" ? "<" : ">"} ${b} ? ${a} : ${b}`);
    case "shl":
    case "shr": {
      if (type.startsWith("s")) break;
      const by = value(sources[1]!, "u32");
      return assign(`${by} < ${type.slice(1)} ? ${a} ${name === "shl" ? "<<" : ">>"} ${by} : 0`);
    }
    case "bfe":
      return assign(`(${a} >> ${b}) & ((1u << ${c}) - 1)`);
    case "neg":
      return assign(`-${a}`);
    case "not":
      return assign(`${type === "pred" ? "!" : "~"}${a}`);
    case "popc":
      return assign(`__builtin_popcount(${a})`);
    case "atom": {
      // Threads and blocks take turns, so that nothing comes between the load and the store.
      const operator = operators[operation[2]!];
      if (operator === undefined || !/^[bu]32$/.test(type)) break;
      const place = `*(${cTypes[type]} *)${address(sources[0]!)}`;
      return `${assign(place)} ${place} = ${place} ${operator} ${b};`;
    }
    case "sqrt":
      checkRounding(operation, line);
      return assign(type === "f32" ? `__builtin_sqrtf(${a})` : `__builtin_sqrt(${a})`);
    case "rcp":
      checkRounding(operation, line);
      return assign(`(${cTypes[type]})1 / ${a}`);
  }
  throw new Error(`PTX: ${line}`);
}

/** An operation on floating point that does not say how it rounds may be fused with another. */
function checkRounding(operation: string[], line: string): void {
  const isFloat = operation.at(-1)!.startsWith("f");
  if (isFloat && (operation[1] !== "rn" || operation.length !== 3)) throw new Error(`PTX: ${line}`);
}

function register(operand: string): string {
  if (!/^%(p|rs|r|rd|f|fd)\d+$/.test(operand)) throw new Error(`PTX operand: ${operand}`);
  return operand.slice(1);
}

function value(operand: string, type: string): string {
  if (specials[operand] !== undefined) return specials[operand];
  if (/^0f[0-9A-Fa-f]{8}$/.test(operand)) return `ptxFloat(0x${operand.slice(2)}u)`;
  if (/^0d[0-9A-Fa-f]{16}$/.test(operand)) return `ptxDouble(0x${operand.slice(2)}ull)`;
  if (/^-?\d+$/.test(operand)) return type === "pred" ? `${operand} != 0` : `(${cTypes[type]})${operand}ll`;
  if (/^\w+_param_0$/.test(operand)) return "(uint64_t)&launch";
  if (/^\w+$/.test(operand)) return `(uint64_t)${operand}`;
  if (/^[{[]/.test(operand)) return operand;
  const name = register(operand);
  // Signed and unsigned share registers; the instruction says which is meant.
  return cTypes[type] !== undefined && /^[us]/.test(type) ? `((${cTypes[type]})${name})` : name;
}

function address(operand: string): string {
  const parsed = /^\[([%\w]+)(?:\+(-?\d+))?\]$/.exec(operand);
  if (!parsed) throw new Error(`PTX address: ${operand}`);
  return `(${value(parsed[1]!, "u64")} + (${parsed[2] ?? 0}))`;
}

function load(operation: string[], target: string, source: string): string {
  const type = cTypes[operation.at(-1)!];
  const targets = target.startsWith("{") ? target.slice(1, -1).split(", ") : [target];
  return targets.map((name, i) => `${register(name)} = ((${type} *)${address(source)})[${i}];`).join(" ");
}

function store(operation: string[], target: string, source: string): string {
  const type = operation.at(-1)!;
  const sources = source.startsWith("{") ? source.slice(1, -1).split(", ") : [source];
  return sources
    .map((name, i) => `((${cTypes[type]} *)${address(target)})[${i}] = ${value(name, type)};`)
    .join(" ");
}
