import type { FloatArray } from "./answers.js";
import type { Pooling } from "./settings.js";

/**
 * One vector of a text's token states, as sentence-transformers' Pooling module makes it; there is no padding.
 *
 * @param states (tokens, dimension), at least one token.
 */
export function pool(states: FloatArray, how: Pooling): Float32Array {
  const [tokens = 0, dimension = 0] = states.shape;
  if (how === "cls") return states.data.slice(0, dimension);
  if (how === "lasttoken") return states.data.slice((tokens - 1) * dimension);
  const gathered = new Float64Array(dimension).fill(how === "max" ? -Infinity : 0);
  states.data.forEach((value, place) => {
    const column = place % dimension;
    const before = gathered[column] ?? 0;
    gathered[column] = how === "max" ? Math.max(before, value) : before + value;
  });
  const divisor = how === "mean" ? tokens : how === "mean_sqrt_len_tokens" ? Math.sqrt(tokens) : 1;
  return Float32Array.from(gathered, (value) => value / divisor);
}

/** A vector scaled to unit length; the divisor is at least 1e-12, as torch has it. */
export function normalize(vector: Float32Array): Float32Array {
  const length = Math.max(Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)), 1e-12);
  return vector.map((value) => value / length);
}
