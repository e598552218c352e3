import type { FloatArray, Raw } from "./answers.js";
import { InputError } from "./errors.js";
import type { Input } from "./golden.js";
import { fields, listed, TOKENS } from "./graph.js";
import { section } from "./manifest.js";
import { checkOptions, Model, type Opened } from "./model.js";
import { normalize, pool } from "./pooling.js";
import type { EmbeddingSettings } from "./settings.js";

/** An open bundle that turns texts into vectors: `feature-extraction` and `sentence-similarity`. */
export class Embedder extends Model {
  /** Length of a vector. */
  readonly dimension: number;
  private readonly settings: EmbeddingSettings;

  constructor(opened: Opened) {
    super(opened);
    this.settings = section(this.manifest, "embedding");
    this.dimension = this.settings.dimension;
  }

  /**
   * The vectors of texts, in their order; a single text gives a single vector.
   *
   * @throws InputError An item is no text; the message has its index.
   */
  embed(text: string, options?: { batch_size?: number }): Promise<Float32Array>;
  embed(texts: readonly string[], options?: { batch_size?: number }): Promise<Float32Array[]>;
  async embed(
    texts: string | readonly string[],
    options: { batch_size?: number } = {},
  ): Promise<Float32Array | Float32Array[]> {
    checkOptions(options, ["batch_size"]);
    const [items, single] = listed(texts);
    const vectors = (await this.states(items, options.batch_size ?? 32)).map((states) => {
      const vector = pool(states, this.settings.pooling);
      return this.settings.normalize ? normalize(vector) : vector;
    });
    return single ? (vectors[0] ?? new Float32Array()) : vectors;
  }

  /** How alike a sentence is to others: the cosine of their vectors. */
  async similarity(sentence: string, others: readonly string[]): Promise<number[]> {
    const [first = new Float32Array(), ...vectors] = (await this.embed([sentence, ...others])).map(normalize);
    return vectors.map((vector) => vector.reduce((sum, value, place) => sum + value * (first[place] ?? 0), 0));
  }

  /** Token states as `pipeline("feature-extraction")` gives them: (1, tokens, dimension) for each text. */
  override async run(texts: string | readonly string[]): Promise<number[][][] | number[][][][]> {
    const [items, single] = listed(texts);
    const found = (await this.states(items, 1)).map((states) => [rows(states, this.dimension)]);
    return single ? (found[0] ?? []) : found;
  }

  /** `{embedding}` for inputs `{text}`. */
  override async raw(inputs: readonly Input[]): Promise<Raw[]> {
    const vectors = await this.embed(inputs.map((item, index) => fields(item, index, ["text"])["text"] as string));
    return vectors.map((data) => ({ embedding: { data, shape: [this.dimension] } }));
  }

  private async states(texts: readonly unknown[], batchSize: number): Promise<FloatArray[]> {
    const encoded = texts.map((text, index) => this.graph.encoder.encode(`input ${index}: `, text));
    const answers = await this.graph.run(encoded, { [this.settings.output]: [TOKENS, this.dimension] }, batchSize);
    return answers.map((answer, index) => {
      const states = answer[this.settings.output];
      if (!states) throw new InputError(`input ${index}: has no answer`);
      return states;
    });
  }
}

function rows(states: FloatArray, dimension: number): number[][] {
  const [tokens = 0] = states.shape;
  return Array.from({ length: tokens }, (_, row) => [...states.data.subarray(row * dimension, (row + 1) * dimension)]);
}
