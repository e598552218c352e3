import type { Table } from "./table.js";

/** How text becomes input ids. */
export interface TextSettings {
  readonly tokenizer: string;
  readonly maxLength: number;
  readonly padId: number;
  readonly padTypeId: number;
}

/** How token states become one vector. */
export interface EmbeddingSettings {
  readonly output: string;
  readonly pooling: Pooling;
  readonly normalize: boolean;
  readonly dimension: number;
}

/** How a row of logits becomes labels with scores. */
export interface LabelSettings {
  readonly output: string;
  readonly labels: readonly string[];
  readonly activation: Activation;
}

/** What token classification needs to know of the tokenizer. */
export interface TokenSettings {
  readonly unkId: number;
}

/** How two rows of logits become an answer from a context. */
export interface AnsweringSettings {
  readonly start: string;
  readonly end: string;
  readonly noAnswerId: number;
}

export interface Settings {
  readonly text?: TextSettings;
  readonly embedding?: EmbeddingSettings;
  readonly labels?: LabelSettings;
  readonly tokens?: TokenSettings;
  readonly answering?: AnsweringSettings;
}

export const POOLINGS = ["mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens"] as const;
export const ACTIVATIONS = ["softmax", "sigmoid", "none"] as const;

export type Pooling = (typeof POOLINGS)[number];
export type Activation = (typeof ACTIVATIONS)[number];

/** Sections of tasks that are answered in Python only: their place is known, what they say is not read. */
const ELSEWHERE = [
  "audio",
  "contrast",
  "ctc",
  "features",
  "generation",
  "image",
  "masks",
  "ranking",
  "speech",
  "zero_shot",
];

const READERS: { readonly [Key in keyof Required<Settings>]: (table: Table) => Required<Settings>[Key] } = {
  text: (table) => ({
    tokenizer: table.string("tokenizer"),
    maxLength: table.integer("max_length", { minimum: 1, maximum: 2 ** 24 }),
    padId: table.integer("pad_id"),
    padTypeId: table.integer("pad_type_id"),
  }),
  embedding: (table) => ({
    output: table.string("output"),
    pooling: table.string("pooling", { choices: POOLINGS }) as Pooling,
    normalize: table.boolean("normalize"),
    dimension: table.integer("dimension", { minimum: 1, maximum: 2 ** 24 }),
  }),
  labels: (table) => {
    const labels = table.strings("labels", 2 ** 20);
    if (!labels.length) throw table.error("labels", "expected at least one");
    return {
      output: table.string("output"),
      labels,
      activation: table.string("activation", { choices: ACTIVATIONS }) as Activation,
    };
  },
  tokens: (table) => ({ unkId: table.integer("unk_id", { minimum: -1 }) }),
  answering: (table) => ({
    start: table.string("start"),
    end: table.string("end"),
    noAnswerId: table.integer("no_answer_id", { minimum: -1 }),
  }),
};

/** Read the sections of `settings`; with `strict` what is unknown is refused. */
export function readSettings(table: Table, strict: boolean): Settings {
  const found: Record<string, unknown> = {};
  for (const name of table.names()) {
    if (name in READERS) {
      const section = table.table(name);
      found[name] = READERS[name as keyof typeof READERS](section);
      if (strict) section.done();
    } else if (ELSEWHERE.includes(name)) {
      table.raw(name);
    }
  }
  if (strict) table.done();
  return found;
}

/** Paths in the bundle that the sections name. */
export function namedFiles(settings: Settings): string[] {
  return settings.text ? [settings.text.tokenizer] : [];
}

/** Graph outputs that the sections read. */
export function namedOutputs(settings: Settings): string[] {
  const { embedding, labels, answering } = settings;
  return [embedding?.output, labels?.output, answering?.start, answering?.end].filter((name) => name !== undefined);
}
