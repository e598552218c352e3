import { KINDS, type FloatArray, type NumberArray, type Raw } from "./answers.js";
import { IntegrityError, RecordError } from "./errors.js";
import { JsonNumber, parseJson } from "./json.js";
import { Table } from "./table.js";

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_CASES = 4096;
const MAX_TEXT = 65536;
const MAX_VALUES = 2 ** 24;
const NAME = "golden cases";
const SIZES = { float32: 4, uint8: 1, int64: 8 } as const;

/** One input by field. */
export type Input = Readonly<Record<string, unknown>>;

/** An input, and the reference's raw answer to it. */
export interface Golden {
  readonly input: Input;
  readonly expected: Raw;
}

/**
 * Parse a file of golden cases.
 *
 * @throws IntegrityError The file breaks the format, or an expected array is empty or not finite.
 */
export function readGolden(data: Uint8Array): Golden[] {
  try {
    const table = new Table(parseJson(data, NAME, MAX_BYTES), NAME);
    const version = table.string("schema_version", { choices: ["2.0", "1.0"] });
    table.string("task");
    const cases = table.tables("cases", MAX_CASES).map(version === "2.0" ? readCase : readEarlier);
    table.done();
    if (!cases.length) throw table.error("cases", "expected at least one");
    return cases;
  } catch (error) {
    if (!(error instanceof RecordError)) throw error;
    throw new IntegrityError(error.message, error.hint || "the bundle is damaged; get it again", { cause: error });
  }
}

function readCase(table: Table): Golden {
  const [asked, answered] = [table.table("input"), table.table("expected")];
  table.done();
  const input = Object.fromEntries(asked.names().map((name) => [name, readValue(asked, name)]));
  const expected = Object.fromEntries(answered.names().map((name) => [name, readExpected(answered, name)]));
  if (!asked.names().length || !answered.names().length)
    throw table.error("expected", "a case has an input and an answer");
  return { input, expected };
}

function readEarlier(table: Table): Golden {
  const text = table.string("text", { maxLength: MAX_TEXT });
  const bytes = decoded(table, "embedding", MAX_VALUES);
  table.done();
  if (!bytes.length || bytes.length % 4)
    throw table.error("embedding", `${bytes.length} bytes, expected float32 values`);
  const data = floats(bytes);
  return { input: { text }, expected: { embedding: finite(table, "embedding", { data, shape: [data.length] }) } };
}

function readValue(table: Table, name: string): unknown {
  const value = table.raw(name);
  if (typeof value === "string") return table.string(name, { maxLength: MAX_TEXT });
  if (Array.isArray(value)) return table.strings(name);
  if (value instanceof Map) return readArray(table.table(name));
  if (value instanceof JsonNumber) return value.value;
  if (typeof value === "boolean") return value;
  throw table.error(name, "null is no input");
}

function readExpected(table: Table, name: string): FloatArray {
  if (!KINDS.includes(name.split(".")[0] ?? "")) {
    throw table.error(name, `names no kind of answer: ${KINDS.join(", ")}`);
  }
  return finite(table, name, readArray(table.table(name)));
}

function finite(table: Table, name: string, array: NumberArray): FloatArray {
  const { data, shape } = array;
  if (!(data instanceof Float32Array) || !data.length || !data.every(Number.isFinite)) {
    throw table.error(name, "expected finite float32 values, at least one");
  }
  return { data, shape };
}

function readArray(table: Table): NumberArray {
  const dtype = table.string("dtype", { choices: Object.keys(SIZES) }) as keyof typeof SIZES;
  const shape = table.shape("shape").filter((size) => typeof size === "number");
  const count = shape.reduce((product, size) => product * size, 1);
  if (shape.length !== table.shape("shape").length || count > MAX_VALUES) {
    throw table.error("shape", `expected sizes, ${MAX_VALUES} values at most`);
  }
  const size = count * SIZES[dtype];
  const bytes = decoded(table, "base64", 8 + Math.ceil(size / 3) * 4);
  table.done();
  if (bytes.length !== size) throw table.error("base64", `${bytes.length} bytes, expected ${size}`);
  if (dtype === "float32") return { data: floats(bytes), shape };
  return { data: dtype === "uint8" ? bytes : integers(bytes), shape };
}

// The file is little-endian whatever the host is.
function floats(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length / 4 }, (_, place) => view.getFloat32(place * 4, true));
}

function integers(bytes: Uint8Array): BigInt64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return BigInt64Array.from({ length: bytes.length / 8 }, (_, place) => view.getBigInt64(place * 8, true));
}

function decoded(table: Table, key: string, maxLength: number): Uint8Array {
  const text = table.string(key, { maxLength });
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
    throw table.error(key, "not base64");
  }
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
