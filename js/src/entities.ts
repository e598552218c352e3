import { argmax } from "./answers.js";
import type { Join } from "./joining.js";

/** The strategies of `transformers.pipeline("token-classification")` (transformers 5.23). */
export const STRATEGIES = ["none", "simple", "first", "average", "max"] as const;

export type Strategy = (typeof STRATEGIES)[number];

/** One token of a text, special ones left out. */
export interface Token {
  /** Its place in its window. */
  readonly index: number;
  /** As the vocabulary writes it; for an unknown one, its characters. */
  readonly word: string;
  /** Its first character, and the one behind its last. */
  readonly start: number;
  readonly end: number;
  /** Whether it continues the word of the token before. */
  readonly continues: boolean;
  /** Probability of each label. */
  readonly scores: Float64Array;
}

/** A token, a word or a group of them, with its label. */
export interface Entity {
  readonly label: string;
  readonly score: number;
  readonly word: string;
  readonly start: number;
  readonly end: number;
  /** The token's place in its window; of no meaning for groups. */
  readonly index: number;
}

/**
 * The entities of one text.
 *
 * @param windows The text's tokens, window after window; where windows overlap, the longer of two entities stays.
 * @param ignore Labels that are left out.
 * @param join Puts tokens together into text.
 */
export function findEntities(
  windows: readonly (readonly Token[])[],
  labels: readonly string[],
  strategy: Strategy,
  ignore: readonly string[],
  join: Join,
): Entity[] {
  const kept = windows
    .flatMap((tokens) => labelTokens(tokens, labels, strategy, join))
    .filter((entity) => !ignore.includes(entity.label));
  return windows.length > 1 ? withoutOverlaps(kept) : kept;
}

/**
 * Whether a token continues the word before it.
 *
 * @param chars The whole text's characters.
 * @param marked Whether the vocabulary marks such tokens (`##`). Where it does not, a token that has no space before
 *   or at its first character counts as continuing.
 */
export function continuesWord(
  chars: readonly string[],
  token: string,
  start: number,
  end: number,
  marked: boolean,
): boolean {
  if (marked) return [...token].length !== end - start;
  return start > 0 && chars[start - 1] !== " " && chars[start] !== " ";
}

function labelTokens(tokens: readonly Token[], labels: readonly string[], strategy: Strategy, join: Join): Entity[] {
  if (strategy === "none") return tokens.map((token) => ofToken(token, labels));
  const entities =
    strategy === "simple"
      ? tokens.map((token) => ofToken(token, labels))
      : wordsOf(tokens).map((word) => ofWord(word, labels, strategy, join));
  return groupsOf(entities).map((group) => merged(group, join));
}

function ofToken({ scores, word, start, end, index }: Token, labels: readonly string[]): Entity {
  const best = argmax(scores);
  return { label: labels[best] ?? "", score: scores[best] ?? 0, word, start, end, index };
}

function wordsOf(tokens: readonly Token[]): Token[][] {
  const words: Token[][] = [];
  for (const token of tokens) {
    const last = words[words.length - 1];
    if (last && token.continues) last.push(token);
    else words.push([token]);
  }
  return words;
}

function ofWord(tokens: readonly Token[], labels: readonly string[], strategy: Strategy, join: Join): Entity {
  const word = join(tokens.map((token) => token.word));
  const [start, end] = [tokens[0]?.start ?? 0, tokens[tokens.length - 1]?.end ?? 0];
  return ofToken({ index: 0, word, start, end, continues: false, scores: wordScores(tokens, strategy) }, labels);
}

function wordScores(tokens: readonly Token[], strategy: Strategy): Float64Array {
  const scores = tokens.map((token) => token.scores);
  const first = scores[0] ?? new Float64Array();
  if (strategy === "first") return first;
  if (strategy === "max") {
    const largest = scores.map((row) => row[argmax(row)] ?? 0);
    return scores[argmax(largest)] ?? first;
  }
  return first.map((_, label) => scores.reduce((sum, row) => sum + (row[label] ?? 0), 0) / scores.length);
}

function groupsOf(entities: readonly Entity[]): Entity[][] {
  const groups: Entity[][] = [];
  for (const entity of entities) {
    const last = groups[groups.length - 1];
    const [begins, tag] = tagOf(entity.label);
    if (last && !begins && tag === tagOf(last[last.length - 1]?.label ?? "")[1]) last.push(entity);
    else groups.push([entity]);
  }
  return groups;
}

/** Whether a label opens an entity, and what of; labels without `B-` or `I-` continue one. */
function tagOf(label: string): [boolean, string] {
  return [label.startsWith("B-"), /^[BI]-/.test(label) ? label.slice(2) : label];
}

function merged(entities: readonly Entity[], join: Join): Entity {
  const [first, last] = [entities[0] as Entity, entities[entities.length - 1] as Entity];
  return {
    ...first,
    label: first.label.slice(first.label.indexOf("-") + 1),
    score: entities.reduce((sum, entity) => sum + entity.score, 0) / entities.length,
    word: join(entities.map((entity) => entity.word)),
    end: last.end,
  };
}

function withoutOverlaps(entities: readonly Entity[]): Entity[] {
  const kept: Entity[] = [];
  for (const entity of [...entities].sort((a, b) => a.start - b.start)) {
    const last = kept[kept.length - 1];
    if (!last || entity.start >= last.end) {
      kept.push(entity);
      continue;
    }
    const longer = entity.end - entity.start - (last.end - last.start);
    if (longer > 0 || (longer === 0 && entity.score > last.score)) kept[kept.length - 1] = entity;
  }
  return kept;
}
