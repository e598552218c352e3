import { softmax } from "./answers.js";
import { UsageError } from "./errors.js";

/*
 * Extractive question answering: from the logits of windows to spans of a context. Arguments and results are those of
 * transformers.pipeline("question-answering") of transformers 4.57, as in edgekit/runtime/answering.py.
 */

export const MAX_WINDOW = 384; // tokens, where the model takes that many
export const MAX_STRIDE = 128;

/** One window over a context; one value for each token. */
export interface Window {
  /** Logits for an answer's first and last token. */
  readonly start: ArrayLike<number>;
  readonly end: ArrayLike<number>;
  /** Which tokens are the context's. */
  readonly context: readonly boolean[];
  /** Which tokens stand for "no answer" (`[CLS]`). */
  readonly noAnswer: readonly boolean[];
  /** First character in the context and the one behind the last. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  /** Index of each token's word in the context, -1 for none. */
  readonly words: readonly number[];
}

/** A span of the context; equal answers of several windows are added up, so the score can exceed 1. */
export interface Answer {
  score: number;
  start: number;
  end: number;
  answer: string;
}

/** What is looked for. */
export interface Search {
  readonly topK: number;
  readonly maxAnswerLen: number;
  readonly handleImpossibleAnswer: boolean;
  readonly alignToWords: boolean;
}

/** Refuse a search that makes no sense. */
export function checkSearch(search: Search): void {
  for (const [name, value] of [
    ["top_k", search.topK],
    ["max_answer_len", search.maxAnswerLen],
  ] as const) {
    if (!Number.isInteger(value) || value < 1)
      throw new UsageError(`${name} ${value}: expected an integer of at least 1`);
  }
}

/** The best answers over all windows, best first; places are those of the context's characters. */
export function findAnswers(windows: readonly Window[], context: readonly string[], search: Search): Answer[] {
  const wanted = search.alignToWords ? search.topK * 2 + 10 : search.topK; // aligned spans coincide
  const found = new Map<string, Answer>();
  let noAnswer = 1e6; // above every score
  for (const window of windows) {
    const allowed = window.context.map((inside, place) => inside || (window.noAnswer[place] ?? false));
    const [start, end] = [probabilities(window.start, allowed), probabilities(window.end, allowed)];
    noAnswer = Math.min(noAnswer, (start[0] ?? 0) * (end[0] ?? 0));
    for (const { first, last, score } of bestSpans(start, end, window.context, wanted, search.maxAnswerLen)) {
      const [begin, behind] = charactersOf(window, first, last, search.alignToWords);
      const answer = context.slice(begin, behind).join("");
      const earlier = found.get(answer.toLowerCase());
      found.set(
        answer.toLowerCase(),
        earlier ? { ...earlier, score: earlier.score + score } : { score, start: begin, end: behind, answer },
      );
    }
  }
  const answers = [...found.values()];
  if (search.handleImpossibleAnswer) answers.push({ score: noAnswer, start: 0, end: 0, answer: "" });
  return answers.sort((a, b) => b.score - a.score).slice(0, search.topK);
}

/** Spans of tokens by the product of their two probabilities, best first; at most `count`. */
export function bestSpans(
  start: ArrayLike<number>,
  end: ArrayLike<number>,
  allowed: readonly boolean[],
  count: number,
  maxAnswerLen: number,
): { first: number; last: number; score: number }[] {
  const places = allowed.flatMap((inside, place) => (inside ? [place] : []));
  const spans = places.flatMap((first) =>
    places
      .filter((last) => last >= first && last - first < maxAnswerLen)
      .map((last) => ({ first, last, score: (start[first] ?? 0) * (end[last] ?? 0) })),
  );
  return spans.sort((a, b) => b.score - a.score).slice(0, count);
}

function probabilities(logits: ArrayLike<number>, allowed: readonly boolean[]): Float64Array {
  return softmax(allowed.map((inside, place) => (inside ? (logits[place] ?? 0) : -10_000)));
}

function charactersOf(window: Window, first: number, last: number, align: boolean): [number, number] {
  const [one = -1, other = -1] = [window.words[first], window.words[last]];
  let [from, to] = [first, last];
  if (align && one >= 0 && other >= 0) {
    from = window.words.findIndex((word, place) => word === one && window.context[place]);
    to = window.words.findLastIndex((word, place) => word === other && window.context[place]);
  }
  return [window.starts[from] ?? 0, window.ends[to] ?? 0];
}
