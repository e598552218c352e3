import type { FloatArray } from "./answers.js";
import { groupByLength, type Encoded, type PairEncoder } from "./encoder.js";
import { InputError, IntegrityError } from "./errors.js";
import type { Feed, Session } from "./session.js";

export const TOKENS = "tokens";

/** A size of an output behind the batch: a number, or as many as the input has tokens. */
export type Size = number | typeof TOKENS;

/** A bundle's one graph, asked with tokens. */
export class TextGraph {
  constructor(
    readonly encoder: PairEncoder,
    readonly session: Session,
  ) {}

  /**
   * The answers to tokens, in their order; only equally long ones share a batch.
   *
   * @param shapes The outputs wanted, each with its shape behind the batch.
   * @throws InputError An input holds no token.
   * @throws IntegrityError An output is of another shape.
   * @throws HostError onnxruntime-web failed.
   */
  async run(
    encoded: readonly Encoded[],
    shapes: Readonly<Record<string, readonly Size[]>>,
    batchSize: number,
  ): Promise<Record<string, FloatArray>[]> {
    encoded.forEach(({ ids }, index) => {
      if (!ids.length) throw new InputError(`input ${index}: holds no token`);
    });
    const answers: Record<string, FloatArray>[] = encoded.map(() => ({}));
    for (const rows of groupByLength(encoded, batchSize)) {
      const batch = rows.flatMap((row) => encoded[row] ?? []);
      const length = batch[0]?.ids.length ?? 0;
      const found = await this.session.run(feedsOf(batch, length), Object.keys(shapes));
      for (const [name, sizes] of Object.entries(shapes)) {
        const shape = sizes.map((size) => (size === TOKENS ? length : size));
        const output = found[name];
        const expected = [rows.length, ...shape];
        if (output?.shape.join() !== expected.join()) {
          throw new IntegrityError(`${this.session.path}: ${name} has shape ${output?.shape}, expected ${expected}`);
        }
        const step = shape.reduce((product, size) => product * size, 1);
        rows.forEach((row, place) => {
          const answer = answers[row];
          if (answer) answer[name] = { data: output.data.subarray(place * step, (place + 1) * step), shape };
        });
      }
    }
    return answers;
  }
}

/** Inputs as a list, and whether there was only one outside a list. */
export function listed(inputs: unknown): [unknown[], boolean] {
  if (Array.isArray(inputs)) return [inputs, false];
  if (typeof inputs === "string" || isRecord(inputs)) return [[inputs], true];
  throw new InputError(
    `expected a string, an object, or a list of them, got ${inputs === null ? "null" : typeof inputs}`,
  );
}

/**
 * The named fields of an input; a string is its first wanted field.
 *
 * @throws InputError A field is missing or unknown, or the item is neither.
 */
export function fields(
  item: unknown,
  index: number,
  wanted: readonly string[],
  optional: readonly string[] = [],
): Record<string, unknown> {
  const [first, second] = wanted;
  if (typeof item === "string" && first !== undefined && second === undefined) return { [first]: item };
  if (!isRecord(item)) throw new InputError(`input ${index}: expected a string or an object, got ${typeof item}`);
  for (const name of wanted) {
    if (!(name in item))
      throw new InputError(`input ${index}: has no field '${name}', only ${Object.keys(item).join(", ") || "none"}`);
  }
  const known = [...wanted, ...optional];
  for (const name of Object.keys(item)) {
    if (!known.includes(name))
      throw new InputError(`input ${index}: unknown field '${name}'; expected ${known.join(", ")}`);
  }
  return item;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function feedsOf(batch: readonly Encoded[], length: number): Record<string, Feed> {
  const shape = [batch.length, length];
  const feed = (data: number[]): Feed => ({ data, shape });
  return {
    input_ids: feed(batch.flatMap(({ ids }) => ids)),
    attention_mask: feed(batch.flatMap(({ ids }) => ids.map(() => 1))),
    token_type_ids: feed(batch.flatMap(({ typeIds }) => typeIds)),
    position_ids: feed(batch.flatMap(({ ids }) => ids.map((_, place) => place))),
  };
}
