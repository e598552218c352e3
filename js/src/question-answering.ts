import type { FloatArray, Raw } from "./answers.js";
import type { Encoded } from "./encoder.js";
import { InputError, UsageError } from "./errors.js";
import type { Input } from "./golden.js";
import { fields, TOKENS } from "./graph.js";
import { section } from "./manifest.js";
import { checkOptions, Model, unitsOf, type Opened } from "./model.js";
import type { AnsweringSettings } from "./settings.js";
import { checkSearch, findAnswers, MAX_STRIDE, MAX_WINDOW, type Answer, type Search, type Window } from "./spans.js";

/** A question and what its answer is taken from. */
export interface Question {
  question: string;
  context: string;
}

export interface AnswerOptions {
  /** Answers wanted for each question. */
  top_k?: number;
  /** Tokens of the context that neighbouring windows share; left out, 128 or half a window. */
  doc_stride?: number;
  /** Tokens of an answer, at most. */
  max_answer_len?: number;
  /** Tokens of a window; left out, 384 or the model's length where it is less. */
  max_seq_len?: number;
  /** Tokens of the question, whose end is dropped beyond; left out, it is kept whole. */
  max_question_len?: number;
  /** Whether the empty answer takes part. */
  handle_impossible_answer?: boolean;
  /** Whether an answer grows to whole words. */
  align_to_words?: boolean;
  /** Windows run at once, at most. */
  batch_size?: number;
}

const OPTIONS = ["top_k", "doc_stride", "max_answer_len", "max_seq_len", "max_question_len", "handle_impossible_answer",
  "align_to_words", "batch_size"]; // prettier-ignore
const FIELDS = ["question", "context"] as const;

/** An open bundle that finds answers in a context. */
export class QuestionAnswerer extends Model {
  private readonly settings: AnsweringSettings;

  constructor(opened: Opened) {
    super(opened);
    this.settings = section(this.manifest, "answering");
  }

  /**
   * The best answers: one for one question with `top_k` 1, a list of them for one question with several, a list of
   * these for several questions. `context.slice(start, end)` is the answer.
   */
  override async run(
    inputs: Question | readonly Question[],
    options: AnswerOptions = {},
  ): Promise<Answer | Answer[] | (Answer | Answer[])[]> {
    checkOptions(options, OPTIONS);
    const search: Search = {
      topK: options.top_k ?? 1,
      maxAnswerLen: options.max_answer_len ?? 15,
      handleImpossibleAnswer: options.handle_impossible_answer ?? false,
      alignToWords: options.align_to_words ?? true,
    };
    checkSearch(search);
    const asked = (Array.isArray(inputs) ? inputs : [inputs]).map(checked);
    const windows = asked.map((item, index) => this.windows(index, item, options));
    const logits = await this.logits(windows.flat(), options.batch_size ?? 1);
    let next = 0;
    const answers = asked.map(({ context }, index) => {
      const chars = [...context];
      const units = unitsOf(chars);
      const parts = (windows[index] ?? []).map((window) => this.window(window, logits[next++] ?? {}));
      const found = findAnswers(parts, chars, search);
      const listed = found.map((one) => ({ ...one, start: units[one.start] ?? 0, end: units[one.end] ?? 0 }));
      return listed.length === 1 ? (listed[0] as Answer) : listed;
    });
    return answers.length === 1 ? (answers[0] ?? []) : answers;
  }

  /** `{"logits.start", "logits.end"}` of the places of the first window that may be an answer. */
  override async raw(inputs: readonly Input[]): Promise<Raw[]> {
    const windows = inputs.map(checked).flatMap((item, index) => this.windows(index, item, {}).slice(0, 1));
    const logits = await this.logits(windows, 1);
    return windows.map((window, index) => {
      const place = this.window(window, logits[index] ?? {});
      const kept = place.context.flatMap((inside, at) => (inside || place.noAnswer[at] ? [at] : []));
      const part = (values: ArrayLike<number>): FloatArray => ({
        data: Float32Array.from(kept, (at) => values[at] ?? 0),
        shape: [kept.length],
      });
      return { "logits.start": part(place.start), "logits.end": part(place.end) };
    });
  }

  private windows(index: number, item: Question, options: AnswerOptions): Encoded[] {
    const { encoder } = this.graph;
    const where = `input ${index}: `;
    const limit = options.max_seq_len ?? Math.min(MAX_WINDOW, encoder.maxLength);
    let { question } = item;
    if (options.max_question_len !== undefined) {
      if (options.max_question_len < 1)
        throw new UsageError(`max_question_len ${options.max_question_len}: expected at least 1`);
      question = encoder.shorten(`${where}question`, question, options.max_question_len);
    }
    const shared =
      options.doc_stride === undefined
        ? { tokens: Math.min(MAX_STRIDE, Math.floor(limit / 2)), narrows: true }
        : { tokens: options.doc_stride, narrows: false };
    return encoder.windows(where, question, item.context, shared, limit);
  }

  private logits(windows: readonly Encoded[], batchSize: number): Promise<Record<string, FloatArray>[]> {
    return this.graph.run(windows, { [this.settings.start]: [TOKENS], [this.settings.end]: [TOKENS] }, batchSize);
  }

  private window(window: Encoded, found: Record<string, FloatArray>): Window {
    const { start, end, noAnswerId } = this.settings;
    return {
      start: found[start]?.data ?? [],
      end: found[end]?.data ?? [],
      context: window.sequence.map((number) => number === 1),
      noAnswer: window.ids.map((id, place) => id === noAnswerId && window.sequence[place] !== 0),
      starts: window.starts,
      ends: window.ends,
      words: window.words,
    };
  }
}

function checked(item: unknown, index: number): Question {
  const found = fields(item, index, FIELDS);
  for (const name of FIELDS) {
    if (typeof found[name] !== "string") throw new InputError(`input ${index}: ${name}: expected a string`);
    if (!found[name]) throw new InputError(`input ${index}: ${name}: is empty`);
  }
  return found as unknown as Question;
}
