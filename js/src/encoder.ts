import { HostError, InputError, IntegrityError, UsageError } from "./errors.js";
import { hasLoneSurrogate } from "./json.js";
import type { TextSettings } from "./settings.js";
import { TextTokenizer, type Bare, type Config } from "./tokenizer.js";

export const CHARACTERS_PER_TOKEN = 64;

const MAX_CHARACTERS = 4 * 1024 * 1024; // of a text that is read in windows
const ADDED = -1;

/** The tokens of one text or pair, or of one window of it, special ones included. */
export interface Encoded {
  readonly ids: readonly number[];
  readonly typeIds: readonly number[];
  /** 0 for tokens of the text, 1 for those of its pair, -1 for added ones. */
  readonly sequence: readonly number[];
  /** Each token's first character within its own text, and the one behind its last; characters are code points. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  /** Index of each token's word within its text, -1 for none. */
  readonly words: readonly number[];
}

/** How many tokens neighbouring windows share, and whether it may narrow to half a window. */
export interface Stride {
  readonly tokens: number;
  readonly narrows: boolean;
}

/** A text by its number, or an added token's id, with the type of what stands there. */
interface Item {
  readonly text?: number;
  readonly id?: number;
  readonly type: number;
}

/** What a tokenizer puts around one text, or around and between two, and how many tokens it adds. */
interface Frame {
  readonly added: number;
  readonly items: readonly Item[];
}

/** Turns texts and pairs into windows of tokens, as transformers' fast tokenizers do. */
export class PairEncoder {
  readonly maxLength: number;
  readonly tokenizer: TextTokenizer;
  private readonly frames = new Map<number, Frame>();

  constructor(
    data: Uint8Array,
    private readonly settings: TextSettings,
  ) {
    this.maxLength = settings.maxLength;
    this.tokenizer = new TextTokenizer(data, settings.tokenizer);
  }

  /** The tokens of one text or pair, at most `maxLength`, the end of the longer one dropped first. */
  encode(where: string, text: unknown, pair?: unknown): Encoded {
    const bound = this.maxLength * CHARACTERS_PER_TOKEN;
    const pieces = named(where, text, pair).map(([name, item]) =>
      this.tokenizer.bare(cutText(checked(name, item), bound)),
    );
    const frame = this.frame(pieces.length);
    const kept = shares(
      pieces.map((piece) => piece.ids.length),
      this.room(frame, this.maxLength),
    );
    return around(
      frame,
      pieces,
      kept.map((count) => [0, count]),
    );
  }

  /** All tokens of a text, or of its pair where there is one, in windows that overlap; nothing is dropped. */
  windows(where: string, text: unknown, pair: unknown, stride: Stride, limit = this.maxLength): Encoded[] {
    if (!Number.isInteger(limit) || limit < 1 || limit > this.maxLength) {
      throw new UsageError(`max_length ${limit}: expected 1 to ${this.maxLength}`);
    }
    const pieces = named(where, text, pair).map(([name, item]) => {
      const whole = checked(name, item);
      if (whole.length > MAX_CHARACTERS) {
        throw new InputError(`${name}: more than ${MAX_CHARACTERS} characters`, "split it into parts");
      }
      return this.tokenizer.bare(whole);
    });
    const frame = this.frame(pieces.length);
    const lengths = pieces.map((piece) => piece.ids.length);
    const kept = pieces.length === 2 ? (lengths[0] ?? 0) : 0;
    const room = this.room(frame, limit) - kept;
    if (room < 1) {
      throw new InputError(
        `${where}${kept} tokens of the text leave no room for what stands beside it within ${limit}`,
      );
    }
    const shared = stride.narrows && stride.tokens >= room ? Math.floor(room / 2) : stride.tokens;
    if (!Number.isInteger(shared) || shared < 0 || shared >= room) {
      throw new UsageError(`stride ${shared}: expected 0 to ${room - 1}, as a window has room for ${room} tokens`);
    }
    const whole: [number, number][] = pieces.length === 2 ? [[0, kept]] : [];
    const spans = windowSpans(lengths[lengths.length - 1] ?? 0, room, shared);
    return spans.map((span) => around(frame, pieces, [...whole, span]));
  }

  /** The text up to the last character of its token number `tokens`. */
  shorten(name: string, text: string, tokens: number): string {
    const head = cutText(checked(name, text), tokens * CHARACTERS_PER_TOKEN);
    const { ids, ends } = this.tokenizer.bare(head);
    return ids.length <= tokens ? head : [...head].slice(0, ends[tokens - 1]).join("");
  }

  private frame(texts: number): Frame {
    const known = this.frames.get(texts) ?? frameOf(this.tokenizer, this.tokenizer.postProcessor, texts);
    this.frames.set(texts, known);
    return known;
  }

  private room(frame: Frame, limit: number): number {
    if (limit <= frame.added) {
      const place = `edgekit.json: text: max_length ${limit}`;
      throw new IntegrityError(
        `${place} leaves no room beside ${frame.added} special tokens of ${this.settings.tokenizer}`,
      );
    }
    return limit - frame.added;
  }
}

/** Where windows over `length` tokens start and stop; the last one ends with the text. */
export function windowSpans(length: number, room: number, stride: number): [number, number][] {
  const spans: [number, number][] = [[0, Math.min(room, length)]];
  for (let [start, stop] = [0, Math.min(room, length)]; stop < length;) {
    start += room - stride;
    stop = Math.min(start + room, length);
    spans.push([start, stop]);
  }
  return spans;
}

/**
 * Indices of what may share a batch: equally many tokens, at most `batchSize` of them. Dynamic int8 takes one scale
 * over a whole batch, padding included, so nothing is padded.
 */
export function groupByLength(encoded: readonly Encoded[], batchSize: number): number[][] {
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new UsageError(`batch_size ${batchSize}: expected at least 1`);
  const byLength = new Map<number, number[]>();
  encoded.forEach(({ ids }, index) => byLength.set(ids.length, [...(byLength.get(ids.length) ?? []), index]));
  const groups: number[][] = [];
  for (const rows of byLength.values()) {
    for (let start = 0; start < rows.length; start += batchSize) groups.push(rows.slice(start, start + batchSize));
  }
  return groups;
}

/** The text, cut behind the last white space within `longest` characters where it is longer. */
export function cutText(text: string, longest: number): string {
  if (text.length <= longest) return text;
  const chars: string[] = [];
  for (const char of text) {
    if (chars.length === longest) {
      if (/\s/.test(char)) return chars.join("");
      let last = chars.length - 1;
      while (last >= 0 && !/\s/.test(chars[last] ?? "")) last -= 1;
      return chars.slice(0, last > 0 ? last : chars.length).join("");
    }
    chars.push(char);
  }
  return text;
}

function checked(name: string, text: unknown): string {
  if (typeof text !== "string")
    throw new InputError(`${name}: expected a string, got ${text === null ? "null" : typeof text}`);
  if (hasLoneSurrogate(text)) throw new InputError(`${name}: holds a lone surrogate, which is no text`);
  return text;
}

function named(where: string, text: unknown, pair: unknown): [string, unknown][] {
  return pair === undefined || pair === null
    ? [[`${where}text`, text]]
    : [
        [`${where}text`, text],
        [`${where}text_pair`, pair],
      ];
}

function around(frame: Frame, pieces: readonly Bare[], spans: readonly (readonly [number, number])[]): Encoded {
  const made = {
    ids: [] as number[],
    typeIds: [] as number[],
    sequence: [] as number[],
    starts: [] as number[],
    ends: [] as number[],
    words: [] as number[],
  };
  const push = (id: number, type: number, sequence: number, start: number, end: number, word: number): void => {
    made.ids.push(id);
    made.typeIds.push(type);
    made.sequence.push(sequence);
    made.starts.push(start);
    made.ends.push(end);
    made.words.push(word);
  };
  for (const { text, id = 0, type } of frame.items) {
    const [piece, span] = [pieces[text ?? -1], spans[text ?? -1]];
    if (text === undefined || !piece || !span) {
      push(id, type, ADDED, 0, 0, ADDED);
      continue;
    }
    for (let place = span[0]; place < span[1]; place += 1) {
      push(
        piece.ids[place] ?? 0,
        type,
        text,
        piece.starts[place] ?? 0,
        piece.ends[place] ?? 0,
        piece.words[place] ?? ADDED,
      );
    }
  }
  return made;
}

function frameOf(tokenizer: TextTokenizer, config: Config | null, texts: number): Frame {
  const items = config === null ? null : itemsOf(tokenizer, config, texts);
  const plain =
    texts === 2
      ? [
          { text: 0, type: 0 },
          { text: 1, type: 1 },
        ]
      : [{ text: 0, type: 0 }];
  const used = items ?? plain;
  return { items: used, added: used.filter((item) => !("text" in item)).length };
}

function itemsOf(tokenizer: TextTokenizer, config: Config, texts: number): readonly Item[] | null {
  const special = (key: string, type: number): Item => ({ id: (config[key] as [string, number])[1], type });
  switch (config.type) {
    case "Sequence":
      return (
        (config["processors"] as Config[]).map((one) => itemsOf(tokenizer, one, texts)).find((found) => found) ?? null
      );
    case "ByteLevel":
      return null;
    case "BertProcessing": {
      const one = [special("cls", 0), { text: 0, type: 0 }, special("sep", 0)];
      return texts === 1 ? one : [...one, { text: 1, type: 1 }, special("sep", 1)];
    }
    case "RobertaProcessing": {
      const one = [special("cls", 0), { text: 0, type: 0 }, special("sep", 0)];
      return texts === 1 ? one : [...one, special("sep", 0), { text: 1, type: 0 }, special("sep", 0)];
    }
    case "TemplateProcessing":
      return templateItems(config, texts);
    default:
      throw new HostError(
        `the tokenizer's post-processor ${config.type} is not known here`,
        "use the bundle in Python",
      );
  }
}

function templateItems(config: Config, texts: number): Item[] {
  type Part = { SpecialToken?: { id: string; type_id: number }; Sequence?: { id: string; type_id: number } };
  const ids = config["special_tokens"] as Record<string, { ids: number[] }>;
  const items = (config[texts === 1 ? "single" : "pair"] as Part[]).flatMap(({ SpecialToken, Sequence }): Item[] => {
    if (Sequence) return [{ text: Sequence.id === "A" ? 0 : 1, type: Sequence.type_id }];
    return (ids[SpecialToken?.id ?? ""]?.ids ?? []).map((id) => ({ id, type: SpecialToken?.type_id ?? 0 }));
  });
  const order = items.flatMap(({ text }) => text ?? []);
  if (order.join() !== (texts === 1 ? "0" : "0,1")) {
    throw new HostError("the tokenizer arranges texts in a way that is not known here", "use the bundle in Python");
  }
  return items;
}

/** How many tokens of each text are kept, as tokenizers' own truncation of pairs decides it. */
function shares(lengths: readonly number[], room: number): number[] {
  const [first = 0, second] = lengths;
  if (second === undefined) return [Math.min(first, room)];
  if (first + second <= room) return [first, second];
  const half = Math.floor(room / 2);
  if (Math.min(first, second) > half) return first <= second ? [half, room - half] : [room - half, half];
  return first <= second ? [first, room - first] : [room - second, second];
}
