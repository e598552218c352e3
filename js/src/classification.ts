import { sigmoid, softmax, type FloatArray, type Raw } from "./answers.js";
import { UsageError } from "./errors.js";
import type { Input } from "./golden.js";
import { fields, listed } from "./graph.js";
import { section } from "./manifest.js";
import { checkOptions, Model, type Opened } from "./model.js";
import { ACTIVATIONS, type Activation, type LabelSettings } from "./settings.js";

/** A text, or a pair of texts where the model reads pairs. */
export type TextInput = string | { text: string; text_pair?: string };

export interface Label {
  label: string;
  score: number;
}

export interface ClassifyOptions {
  /** Labels for each input, the most likely first; null gives all. Left out, each input has one label. */
  top_k?: number | null;
  /** The model's own where it is left out. */
  function_to_apply?: Activation;
  /** Inputs run at once, at most. */
  batch_size?: number;
}

const RAW_KINDS = { softmax: "logits", sigmoid: "flags", none: "value" } as const;

/** An open bundle that labels texts, one label or several. */
export class TextClassifier extends Model {
  /** Their names, in the order of the logits. */
  readonly labels: readonly string[];
  private readonly settings: LabelSettings;

  constructor(opened: Opened) {
    super(opened);
    this.settings = section(this.manifest, "labels");
    this.labels = this.settings.labels;
  }

  /**
   * Labels with scores, in the pipeline's shapes.
   *
   * With `top_k` a list of labels for an input, and a list of such lists for a list. Left out, one label for an
   * object, and a list of them for a list; and, as the pipeline has it, for a single string a list too.
   */
  override async run(
    inputs: TextInput | readonly TextInput[],
    options: ClassifyOptions = {},
  ): Promise<Label | Label[] | Label[][]> {
    checkOptions(options, ["top_k", "function_to_apply", "batch_size"]);
    const {
      top_k: wanted,
      function_to_apply: activation = this.settings.activation,
      batch_size: batchSize = 8,
    } = options;
    if (!ACTIVATIONS.includes(activation)) {
      throw new UsageError(`function_to_apply '${activation}': expected ${ACTIVATIONS.join(", ")}`);
    }
    if (wanted !== undefined && wanted !== null && (!Number.isInteger(wanted) || wanted < 1)) {
      throw new UsageError(`top_k ${wanted}: expected at least 1, or null for all`);
    }
    const [items, single] = listed(inputs);
    const count = wanted === undefined ? 1 : (wanted ?? undefined);
    const answers = (await this.logits(items, batchSize)).map(({ data }) =>
      bestLabels(activate(data, activation), this.labels, count),
    );
    if (wanted !== undefined) return single ? (answers[0] ?? []) : answers;
    const first = answers.flatMap(([best]) => best ?? []);
    return single && typeof inputs !== "string" ? (first[0] as Label) : first;
  }

  /** `{logits}` (`flags` for several labels, `value` for a regression) for inputs `{text}`. */
  override async raw(inputs: readonly Input[]): Promise<Raw[]> {
    const name = RAW_KINDS[this.settings.activation];
    return (await this.logits(inputs, 1)).map((row) => ({ [name]: row }));
  }

  private async logits(items: readonly unknown[], batchSize: number): Promise<FloatArray[]> {
    const encoded = items.map((item, index) => {
      const asked = fields(item, index, ["text"], ["text_pair"]);
      return this.graph.encoder.encode(`input ${index}: `, asked["text"], asked["text_pair"]);
    });
    const { output } = this.settings;
    const answers = await this.graph.run(encoded, { [output]: [this.labels.length] }, batchSize);
    return answers.flatMap((answer) => answer[output] ?? []);
  }
}

/** Scores of logits. */
export function activate(logits: Float32Array, activation: Activation): Float64Array {
  if (activation === "none") return Float64Array.from(logits);
  return activation === "softmax" ? softmax(logits) : sigmoid(logits);
}

/** The best of a row of scores, best first; ties in the labels' order. */
export function bestLabels(scores: Float64Array, labels: readonly string[], count?: number): Label[] {
  const order = [...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
  return order.slice(0, count).map((place) => ({ label: labels[place] ?? "", score: scores[place] ?? 0 }));
}
