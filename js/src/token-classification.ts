import { softmax, type FloatArray, type Raw } from "./answers.js";
import type { Encoded } from "./encoder.js";
import { continuesWord, findEntities, STRATEGIES, type Entity, type Strategy, type Token } from "./entities.js";
import { UsageError } from "./errors.js";
import type { Input } from "./golden.js";
import { fields, listed, TOKENS } from "./graph.js";
import { section } from "./manifest.js";
import { checkOptions, Model, unitsOf, type Opened } from "./model.js";
import type { LabelSettings } from "./settings.js";

/** A labelled token. `text.slice(start, end)` is where it stands in the text. */
export interface LabelledToken {
  entity: string;
  score: number;
  index: number;
  word: string;
  start: number;
  end: number;
}

/** A group of tokens of one kind. `text.slice(start, end)` is where it stands in the text. */
export interface EntityGroup {
  entity_group: string;
  score: number;
  word: string;
  start: number;
  end: number;
}

export interface TokenOptions {
  /** `none` for tokens; `simple` groups neighbours of one kind; `first`, `average`, `max` decide on words before. */
  aggregation_strategy?: Strategy;
  /** Labels that are left out. */
  ignore_labels?: readonly string[];
  /** Read all of a long text, in windows that share this many tokens. Without it a text is cut at the model's length. */
  stride?: number;
  /** Windows run at once, at most. */
  batch_size?: number;
}

type Found = LabelledToken[] | EntityGroup[];

/** An open bundle that labels tokens. */
export class TokenClassifier extends Model {
  /** Their names, in the order of the logits. */
  readonly labels: readonly string[];
  private readonly settings: LabelSettings;
  private readonly unknown: number;

  constructor(opened: Opened) {
    super(opened);
    this.settings = section(this.manifest, "labels");
    this.unknown = section(this.manifest, "tokens").unkId;
    this.labels = this.settings.labels;
  }

  /** Entities with scores: a list of them for a text, a list of such lists for texts. */
  override async run(inputs: string | readonly string[], options: TokenOptions = {}): Promise<Found | Found[]> {
    checkOptions(options, ["aggregation_strategy", "ignore_labels", "stride", "batch_size"]);
    const {
      aggregation_strategy: strategy = "none",
      ignore_labels: ignored = ["O"],
      stride,
      batch_size: batchSize = 1,
    } = options;
    if (!STRATEGIES.includes(strategy)) {
      throw new UsageError(`aggregation_strategy '${strategy}': expected one of ${STRATEGIES.join(", ")}`);
    }
    if (stride !== undefined && strategy === "none") {
      throw new UsageError("stride: needs an aggregation_strategy other than 'none'");
    }
    const [items, single] = listed(inputs);
    const texts = items.map((item, index) => fields(item, index, ["text"])["text"] as string);
    const windows = texts.map((text, index) => this.windows(index, text, stride));
    const logits = await this.logits(windows.flat(), batchSize);
    let next = 0;
    const answers = texts.map((text, index) => {
      const chars = [...text];
      const tokens = (windows[index] ?? []).map((window) => this.tokens(chars, window, logits[next++]));
      const { join } = this.graph.encoder.tokenizer;
      return shown(findEntities(tokens, this.labels, strategy, ignored, join), strategy, unitsOf(chars));
    });
    return single ? (answers[0] ?? []) : answers;
  }

  /** `{logits}` of (tokens, labels) for `{text}`, without special tokens. */
  override async raw(inputs: readonly Input[]): Promise<Raw[]> {
    const windows = inputs.flatMap((item, index) =>
      this.windows(index, fields(item, index, ["text"])["text"]).slice(0, 1),
    );
    const logits = await this.logits(windows, 1);
    return windows.map(({ sequence }, index) => {
      const kept = sequence.flatMap((number, place) => (number === 0 ? [place] : []));
      const data = Float32Array.from(kept.flatMap((place) => [...this.row(logits[index], place)]));
      return { logits: { data, shape: [kept.length, this.labels.length] } };
    });
  }

  private windows(index: number, text: unknown, stride?: number): Encoded[] {
    const where = `input ${index}: `;
    if (stride === undefined) return [this.graph.encoder.encode(where, text)];
    return this.graph.encoder.windows(where, text, undefined, { tokens: stride, narrows: false });
  }

  private async logits(windows: readonly Encoded[], batchSize: number): Promise<FloatArray[]> {
    const { output } = this.settings;
    const answers = await this.graph.run(windows, { [output]: [TOKENS, this.labels.length] }, batchSize);
    return answers.flatMap((answer) => answer[output] ?? []);
  }

  private row(logits: FloatArray | undefined, place: number): Float32Array {
    const width = this.labels.length;
    return logits?.data.subarray(place * width, (place + 1) * width) ?? new Float32Array();
  }

  private tokens(chars: readonly string[], window: Encoded, logits: FloatArray | undefined): Token[] {
    const { tokenizer } = this.graph.encoder;
    return window.sequence.flatMap((number, index): Token[] => {
      if (number !== 0) return [];
      const [id = 0, start = 0, end = 0] = [window.ids[index], window.starts[index], window.ends[index]];
      const unknown = id === this.unknown;
      const word = unknown ? chars.slice(start, end).join("") : tokenizer.token(id);
      const continues = !unknown && continuesWord(chars, word, start, end, tokenizer.marksSubwords);
      return [{ index, word, start, end, continues, scores: softmax(this.row(logits, index)) }];
    });
  }
}

/** Entities as the pipeline writes them. */
function shown(entities: readonly Entity[], strategy: Strategy, units: readonly number[]): Found {
  const place = ({ word, start, end }: Entity) => ({ word, start: units[start] ?? 0, end: units[end] ?? 0 });
  if (strategy === "none") {
    return entities.map((one) => ({ entity: one.label, score: one.score, index: one.index, ...place(one) }));
  }
  return entities.map((one) => ({ entity_group: one.label, score: one.score, ...place(one) }));
}
