import { RecordError } from "./errors.js";
import { JsonNumber, kindOf, type Json } from "./json.js";

interface Bounds {
  minimum?: number;
  maximum?: number;
}

/** A mapping that is read key by key, each with its type, and then closed with `done`: a typo is an error. */
export class Table {
  private readonly asked = new Set<string>();

  constructor(
    private readonly values: Map<string, Json>,
    readonly path: string,
  ) {}

  names(): string[] {
    return [...this.values.keys()];
  }

  has(key: string): boolean {
    return this.values.has(key);
  }

  string(key: string, { choices, maxLength = 4096 }: { choices?: readonly string[]; maxLength?: number } = {}): string {
    return this.checkedString(key, this.raw(key), choices, maxLength);
  }

  integer(key: string, { minimum = 0, maximum = 2 ** 53 }: Bounds = {}): number {
    const value = this.raw(key);
    if (!(value instanceof JsonNumber) || !value.integer) {
      throw this.error(key, `expected an integer, found ${kindOf(value)}`);
    }
    return this.within(key, value.value, minimum, maximum);
  }

  number(key: string, { minimum = -Infinity, maximum = Infinity }: Bounds = {}): number {
    const value = this.raw(key);
    if (!(value instanceof JsonNumber)) throw this.error(key, `expected a finite number, found ${kindOf(value)}`);
    return this.within(key, value.value, minimum, maximum);
  }

  boolean(key: string): boolean {
    const value = this.raw(key);
    if (typeof value !== "boolean") throw this.error(key, `expected true or false, found ${kindOf(value)}`);
    return value;
  }

  strings(key: string, maxItems = 1024): string[] {
    return this.list(key, maxItems).map((value, index) => this.checkedString(`${key}: ${index}`, value));
  }

  shape(key: string): (number | string)[] {
    return this.list(key, 16).map((value) => {
      if (typeof value === "string") return value;
      if (value instanceof JsonNumber && value.integer && value.value >= 0) return value.value;
      throw this.error(key, `expected dimensions (integers or names), found ${kindOf(value)}`);
    });
  }

  table(key: string): Table {
    const value = this.raw(key);
    if (!(value instanceof Map)) throw this.error(key, `expected an object, found ${kindOf(value)}`);
    return new Table(value, `${this.path}: ${key}`);
  }

  tables(key: string, maxItems = 65536): Table[] {
    return this.list(key, maxItems).map((value, index) => {
      if (!(value instanceof Map)) throw this.error(key, `item ${index}: expected an object, found ${kindOf(value)}`);
      return new Table(value, `${this.path}: ${key}[${index}]`);
    });
  }

  /** An object whose values are objects. */
  namedTables(key: string): [string, Table][] {
    const table = this.table(key);
    return table.names().map((name) => [name, table.table(name)]);
  }

  /** An object whose values are strings. */
  stringMap(key: string): Map<string, string> {
    const table = this.table(key);
    return new Map(table.names().map((name) => [name, table.string(name)]));
  }

  raw(key: string): Json {
    this.asked.add(key);
    const value = this.values.get(key);
    if (value === undefined) throw new RecordError(`${this.path}: missing key '${key}'`);
    return value;
  }

  /** Refuse every key that was not asked for. */
  done(): void {
    for (const key of this.values.keys()) {
      if (!this.asked.has(key)) {
        throw new RecordError(`${this.path}: unknown key '${key}'`, `expected ${[...this.asked].join(", ")}`);
      }
    }
  }

  error(key: string, problem: string): RecordError {
    return new RecordError(`${this.path}: ${key}: ${problem}`);
  }

  private list(key: string, maxItems: number): Json[] {
    const value = this.raw(key);
    if (!Array.isArray(value)) throw this.error(key, `expected a list, found ${kindOf(value)}`);
    if (value.length > maxItems) throw this.error(key, `more than ${maxItems} items`);
    return value;
  }

  private checkedString(key: string, value: Json, choices?: readonly string[], maxLength = 4096): string {
    if (typeof value !== "string") throw this.error(key, `expected a string, found ${kindOf(value)}`);
    // Counted in characters where it is close: a pair of surrogates is one.
    if (value.length > maxLength && [...value].length > maxLength) {
      throw this.error(key, `longer than ${maxLength} characters`);
    }
    if (choices && !choices.includes(value)) throw this.error(key, `'${value}' is not one of ${choices.join(", ")}`);
    return value;
  }

  private within(key: string, value: number, minimum: number, maximum: number): number {
    if (!(value >= minimum && value <= maximum)) throw this.error(key, `${value} is outside ${minimum}..${maximum}`);
    return value;
  }
}
