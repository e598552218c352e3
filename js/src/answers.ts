/** Numbers with a shape, in C order. */
export interface NumberArray {
  readonly data: Float32Array | Uint8Array | BigInt64Array;
  readonly shape: readonly number[];
}

/** A model's outputs, or the raw answer made of them: float32 by name. */
export interface FloatArray extends NumberArray {
  readonly data: Float32Array;
}

/**
 * The raw answer to one input: what a model says before it is put into words. The name of an array begins with its
 * kind, which says how agreement is counted: `embedding`, `logits`, `flags` or `value`.
 */
export type Raw = Readonly<Record<string, FloatArray>>;

export const KINDS = ["embedding", "logits", "flags", "value"];

const WORST = -1;

/**
 * How alike two raw answers to one input are, by their least alike part.
 *
 * Vectors by cosine; choices by the overlap of their probabilities, one less the total-variation distance, in the
 * worst row; flags by the largest difference of a probability; values by their relative difference.
 *
 * @returns 1 for the very same, down to -1; what is not finite, missing or of another shape is -1.
 */
export function agreement(expected: Raw, found: Raw): number {
  const names = Object.keys(expected);
  if (names.length !== Object.keys(found).length) return WORST;
  return Math.min(
    ...names.map((name) => {
      const [left, right] = [expected[name], found[name]];
      return left && right ? alike(name.split(".")[0] ?? "", left, right) : WORST;
    }),
  );
}

/** Probabilities of choices that exclude each other. */
export function softmax(logits: ArrayLike<number>): Float64Array {
  const wide = Float64Array.from(logits);
  const largest = wide.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponents = wide.map((value) => Math.exp(value - largest));
  const total = exponents.reduce((a, b) => a + b, 0);
  return exponents.map((value) => value / total);
}

/** Probabilities of independent flags. */
export function sigmoid(logits: ArrayLike<number>): Float64Array {
  return Float64Array.from(logits, (value) => {
    const small = Math.exp(-Math.abs(value)); // cannot overflow
    return value >= 0 ? 1 / (1 + small) : small / (1 + small);
  });
}

/** Place of the largest value; the first of several. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let place = 1; place < values.length; place += 1) {
    if ((values[place] ?? -Infinity) > (values[best] ?? -Infinity)) best = place;
  }
  return best;
}

function alike(kind: string, expected: FloatArray, found: FloatArray): number {
  if (expected.shape.join() !== found.shape.join() || !found.data.every(Number.isFinite)) return WORST;
  if (!expected.data.length) return 1;
  if (kind === "embedding") return cosine(expected.data, found.data);
  if (kind === "flags") return 1 - largestDifference(sigmoid(expected.data), sigmoid(found.data));
  if (kind === "value") return Math.max(WORST, 1 - largestShare(expected.data, found.data));
  const choices = expected.shape[expected.shape.length - 1] ?? 1;
  let worst = 1;
  for (let row = 0; row < expected.data.length; row += choices) {
    const [left, right] = [expected, found].map(({ data }) => softmax(data.subarray(row, row + choices)));
    const distance = left?.reduce((sum, value, place) => sum + Math.abs(value - (right?.[place] ?? 0)), 0) ?? 0;
    worst = Math.min(worst, 1 - distance / 2);
  }
  return worst;
}

function cosine(left: Float32Array, right: Float32Array): number {
  let [product, lengths] = [0, [0, 0] as [number, number]];
  left.forEach((value, place) => {
    const other = right[place] ?? 0;
    product += value * other;
    lengths = [lengths[0] + value * value, lengths[1] + other * other];
  });
  const length = Math.sqrt(lengths[0]) * Math.sqrt(lengths[1]);
  return length > 0 ? product / length : WORST; // no direction, no agreement
}

function largestDifference(left: Float64Array, right: Float64Array): number {
  return left.reduce((worst, value, place) => Math.max(worst, Math.abs(value - (right[place] ?? 0))), 0);
}

function largestShare(expected: Float32Array, found: Float32Array): number {
  return expected.reduce(
    (worst, value, place) => Math.max(worst, Math.abs(value - (found[place] ?? 0)) / Math.max(Math.abs(value), 1)),
    0,
  );
}
