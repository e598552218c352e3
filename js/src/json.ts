import { RecordError } from "./errors.js";

/** A number of a JSON text, and whether it was written as an integer that a double holds exactly. */
export class JsonNumber {
  constructor(
    readonly value: number,
    readonly integer: boolean,
  ) {}
}

/** A JSON value; numbers keep how they were written. */
export type Json = null | boolean | string | JsonNumber | Json[] | Map<string, Json>;

const MAX_DEPTH = 32;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\n\r]*/y;
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/**
 * Parse a JSON object as strictly as the Python side does: `JSON.parse` lets keys appear twice and does not
 * tell `1.0` from `1`.
 *
 * Refused: over `maxBytes`, a byte-order mark, invalid UTF-8, keys that appear twice, numbers that fit no
 * double, nesting deeper than 32 levels, lone surrogates, anything but an object on top.
 *
 * @throws RecordError
 */
export function parseJson(data: Uint8Array, name: string, maxBytes: number): Map<string, Json> {
  if (data.length > maxBytes) throw new RecordError(`${name}: ${data.length} bytes is over the limit of ${maxBytes}`);
  if (data[0] === 0xef && data[1] === 0xbb && data[2] === 0xbf) {
    throw new RecordError(`${name}: starts with a byte-order mark`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch (error) {
    throw new RecordError(`${name}: not UTF-8`, "", { cause: error });
  }
  const value = new Parser(text, name).document();
  if (!(value instanceof Map)) throw new RecordError(`${name}: expected an object, found ${kindOf(value)}`);
  return value;
}

/** What a value is, for errors. */
export function kindOf(value: Json | undefined): string {
  if (value instanceof Map) return "an object";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return "a string";
  if (typeof value === "boolean") return "true or false";
  if (value instanceof JsonNumber) return String(value.value);
  return "null";
}

/** Whether a text holds half of a surrogate pair, which no UTF-8 can write. */
export function hasLoneSurrogate(text: string): boolean {
  return LONE.test(text);
}

class Parser {
  private place = 0;

  constructor(
    private readonly text: string,
    private readonly name: string,
  ) {}

  document(): Json {
    const value = this.value(1);
    this.match(SPACE);
    if (this.place < this.text.length) throw this.error("something follows the value");
    return value;
  }

  private value(depth: number): Json {
    this.match(SPACE);
    const first = this.text[this.place];
    if (first === "{" || first === "[") {
      if (depth > MAX_DEPTH) throw new RecordError(`${this.name}: nested deeper than ${MAX_DEPTH} levels`);
      return first === "{" ? this.object(depth) : this.list(depth);
    }
    if (first === '"') return this.string();
    for (const [word, value] of [
      ["true", true],
      ["false", false],
      ["null", null],
    ] as const) {
      if (this.text.startsWith(word, this.place)) {
        this.place += word.length;
        return value;
      }
    }
    return this.number();
  }

  private object(depth: number): Map<string, Json> {
    const found = new Map<string, Json>();
    this.items("}", () => {
      const key = this.string();
      if (found.has(key)) throw new RecordError(`${this.name}: key '${key}' appears twice`);
      this.match(SPACE);
      this.expect(":");
      found.set(key, this.value(depth + 1));
    });
    return found;
  }

  private list(depth: number): Json[] {
    const found: Json[] = [];
    this.items("]", () => found.push(this.value(depth + 1)));
    return found;
  }

  private items(close: string, read: () => void): void {
    this.place += 1;
    this.match(SPACE);
    if (this.text[this.place] === close) {
      this.place += 1;
      return;
    }
    for (;;) {
      this.match(SPACE);
      read();
      this.match(SPACE);
      if (this.text[this.place] === close) break;
      this.expect(",");
    }
    this.place += 1;
  }

  private string(): string {
    const found = this.match(STRING);
    if (!found) throw this.error("expected a string");
    const value = found[0].includes("\\") ? (JSON.parse(found[0]) as string) : found[0].slice(1, -1);
    if (hasLoneSurrogate(value)) throw new RecordError(`${this.name}: holds a lone surrogate`);
    return value;
  }

  private number(): JsonNumber {
    const found = this.match(NUMBER);
    if (!found) throw this.error("expected a value");
    const value = Number(found[0]);
    if (!Number.isFinite(value)) throw new RecordError(`${this.name}: ${found[0].slice(0, 40)} does not fit a double`);
    const exact = found[1] === undefined && found[2] === undefined && BigInt(value) === BigInt(found[0]);
    return new JsonNumber(value, exact);
  }

  private expect(character: string): void {
    if (this.text[this.place] !== character) throw this.error(`expected '${character}'`);
    this.place += 1;
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.place;
    const found = pattern.exec(this.text);
    if (found) this.place += found[0].length;
    return found;
  }

  private error(problem: string): RecordError {
    return new RecordError(`${this.name}: not JSON: ${problem} at character ${this.place}`);
  }
}
