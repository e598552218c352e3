import { BPE, Tokenizer as Library, Unigram, WordPiece } from "@huggingface/tokenizers";
import { align, normalizer, part, type Aligned, type Normalize } from "./aligned.js";
import { HostError, IntegrityError, reason } from "./errors.js";
import { joiner, type Join } from "./joining.js";
import { splitter, type Split } from "./words.js";

/** One part of a `tokenizer.json`. */
export interface Config {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** A text's tokens without added ones. */
export interface Bare {
  readonly ids: number[];
  /** First character of each token; characters are code points. */
  readonly starts: number[];
  /** The one behind the last. */
  readonly ends: number[];
  /** Index of each token's word. */
  readonly words: number[];
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
}

interface Piece {
  readonly token: string;
  readonly id: number;
  readonly length: number;
}

const SPACE = /\s/;
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]/u;
const ELSEWHERE = "use the bundle in Python";

/** What a `tokenizer.json` describes: tokens of a text, with the characters they come from. */
export class TextTokenizer {
  /** What the tokenizer puts around texts. */
  readonly postProcessor: Config | null;
  /** Whether tokens inside words carry a mark (`##`), so that the tokenizer knows what a word is. */
  readonly marksSubwords: boolean;
  /** Puts tokens together into text. */
  readonly join: Join;

  private readonly library: Library;
  private readonly normalize: Normalize;
  private readonly split: Split;
  private readonly added: readonly (AddedToken & { readonly shown: string })[];
  private readonly trims: { readonly spaced: boolean } | null;

  /**
   * @throws IntegrityError It is no tokenizer.
   * @throws HostError It is of a kind that is not known here.
   */
  constructor(
    data: Uint8Array,
    private readonly file: string,
  ) {
    try {
      const config = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)) as Record<string, unknown>;
      const steps = (key: string): Config | null => (config[key] as Config | null | undefined) ?? null;
      this.postProcessor = steps("post_processor");
      this.normalize = normalizer(steps("normalizer"));
      this.split = splitter(steps("pre_tokenizer"));
      // A WordLevel model's unknown token is not read from its own place by the library.
      this.library = new Library(config, { unk_token: steps("model")?.["unk_token"] });
      this.join = joiner(steps("decoder"), this.library);
      this.added = (config["added_tokens"] as AddedToken[]).map((token) => ({
        ...token,
        shown: token.normalized ? this.normalize(align(token.content)).chars.join("") : token.content,
      }));
    } catch (error) {
      if (error instanceof HostError) throw error;
      const message = reason(error);
      if (/^Unknown /.test(message)) throw new HostError(`${file}: ${message}`, ELSEWHERE, { cause: error });
      throw new IntegrityError(`${file}: the tokenizer failed: ${message}`, "", { cause: error });
    }
    this.trims = trimming(this.postProcessor);
    this.marksSubwords = this.model instanceof WordPiece && Boolean(this.model.config.continuing_subword_prefix);
    this.checkModel();
  }

  /** The tokens of a text, without special ones around them. */
  bare(text: string): Bare {
    const found: Bare & { tokens: string[] } = { ids: [], starts: [], ends: [], words: [], tokens: [] };
    let word = 0;
    const add = (piece: Piece, text: Aligned, start: number): void => {
      found.ids.push(piece.id);
      found.tokens.push(piece.token);
      found.starts.push(text.starts[start] ?? 0);
      found.ends.push(text.ends[start + piece.length - 1] ?? 0);
      found.words.push(word);
    };
    for (const [section, token, first] of this.sections(align(text))) {
      if (token) {
        add({ token: section.chars.join(""), id: token.id, length: section.chars.length }, section, 0);
        word += 1;
        continue;
      }
      for (const one of this.split(section, first)) {
        let place = 0;
        for (const piece of one.chars.length ? this.pieces(one.chars) : []) {
          if (piece.id >= 0) add(piece, one, place);
          place += piece.length;
        }
        word += 1;
      }
    }
    if (this.trims) trim(found, this.trims.spaced);
    return found;
  }

  /** The token of an id. */
  token(id: number): string {
    const token = this.library.id_to_token(id);
    if (token === undefined) throw new IntegrityError(`${this.file}: has no token ${id}`, "get the bundle again");
    return token;
  }

  /** The id of a token of the vocabulary. */
  tokenId(token: string): number | undefined {
    return this.library.token_to_id(token);
  }

  private get model(): NonNullable<Library["model"]> {
    if (!this.library.model) throw new IntegrityError(`${this.file}: has no model`);
    return this.library.model;
  }

  /** What a model cuts can only be found in the text again where every piece's length is known. */
  private checkModel(): void {
    const { model } = this;
    const config = model.config as unknown as Record<string, unknown>;
    const odd = ["byte_fallback", "continuing_subword_suffix", "end_of_word_suffix"].find((key) => config[key]);
    const known = model instanceof WordPiece || model instanceof Unigram || config["type"] === "WordLevel";
    const bpe = model instanceof BPE && !config["continuing_subword_prefix"];
    if (odd === undefined && (bpe || known)) return;
    const what = odd === undefined ? "model" : `model's ${odd}`;
    throw new HostError(`${this.file}: the tokenizer's ${what} is not known here`, ELSEWHERE);
  }

  /** The parts of a text, normalized, and the tokens written out between them. */
  private *sections(text: Aligned): Generator<[Aligned, AddedToken | null, boolean]> {
    for (const [raw, token, start] of this.cut(text, false)) {
      if (token) {
        yield [raw, token, false];
        continue;
      }
      for (const [piece, inner, from] of this.cut(this.normalize(raw), true)) {
        yield [piece, inner, start === 0 && from === 0];
      }
    }
  }

  private *cut(text: Aligned, normalized: boolean): Generator<[Aligned, AddedToken | null, number]> {
    const known = this.added.filter((token) => token.normalized === normalized && token.shown);
    let place = 0;
    if (known.length) {
      const whole = text.chars.join("");
      const present = known.filter((token) => whole.includes(token.shown));
      const wanted = present
        .map((token) => ({ token, chars: [...token.shown] }))
        .sort((a, b) => b.chars.length - a.chars.length);
      for (let at = 0; wanted.length && at < text.chars.length; at += 1) {
        const match = wanted.find(({ chars }) => chars.every((char, index) => text.chars[at + index] === char));
        if (!match) continue;
        const stop = at + match.chars.length;
        const alone = !WORD.test(text.chars[at - 1] ?? "") && !WORD.test(text.chars[stop] ?? "");
        if (match.token.single_word && !alone) {
          at = stop - 1;
          continue;
        }
        let [from, to] = [at, stop];
        while (match.token.lstrip && from > place && SPACE.test(text.chars[from - 1] ?? "")) from -= 1;
        while (match.token.rstrip && to < text.chars.length && SPACE.test(text.chars[to] ?? "")) to += 1;
        if (from > place) yield [part(text, place, from), null, place];
        yield [part(text, from, to), match.token, from];
        place = to;
        at = to - 1;
      }
    }
    if (place < text.chars.length) yield [part(text, place, text.chars.length), null, place];
  }

  /** A word's pieces; -1 stands for the id of what the vocabulary does not have at all. */
  private pieces(chars: string[]): Piece[] {
    const { model } = this;
    const word = chars.join("");
    const unknown = model.unk_token_id ?? -1;
    const id = (token: string): number => model.tokens_to_ids.get(token) ?? unknown;
    if (model instanceof WordPiece) {
      const tokens = model.encode([word]);
      if (tokens.length === 1) return [{ token: tokens[0] ?? "", id: id(tokens[0] ?? ""), length: chars.length }];
      const mark = [...(model.config.continuing_subword_prefix ?? "")].length;
      return tokens.map((token, index) => ({ token, id: id(token), length: [...token].length - (index ? mark : 0) }));
    }
    const whole = model instanceof BPE && model.ignore_merges && model.tokens_to_ids.has(word);
    const cut = whole ? [word] : model instanceof BPE ? model.bpe(word) : model.encode([word]);
    const pieces: Piece[] = [];
    for (const token of cut) {
      const piece = { token, id: id(token), length: [...token].length };
      const last = pieces[pieces.length - 1];
      const fuses = model.fuse_unk && !model.tokens_to_ids.has(token) && last && !model.tokens_to_ids.has(last.token);
      if (fuses)
        pieces[pieces.length - 1] = { token: last.token + token, id: unknown, length: last.length + piece.length };
      else pieces.push(piece);
    }
    return pieces;
  }
}

/** Whether the post-processor takes spaces off the places of tokens, and whether the text got a space before it. */
function trimming(config: Config | null): { spaced: boolean } | null {
  if (config === null) return null;
  if (config.type === "Sequence") return trimming((config["processors"] as Config[]).find(trimming) ?? null);
  const trims = ["ByteLevel", "RobertaProcessing"].includes(config.type) && config["trim_offsets"] !== false;
  return trims ? { spaced: config["add_prefix_space"] !== false } : null;
}

// As `process_offsets` of Hugging Face's Rust tokenizers does it.
function trim(found: Bare & { tokens: string[] }, spaced: boolean): void {
  found.tokens.forEach((token, index) => {
    const [start = 0, end = 0] = [found.starts[index], found.ends[index]];
    let before = /^[\u0120\s]*/.exec(token)?.[0].length ?? 0;
    const behind = /[\u0120\s]*$/.exec(token)?.[0].length ?? 0;
    if (before && spaced && (index === 0 || start === 0)) before -= 1;
    const from = Math.min(start + before, end);
    found.starts[index] = from;
    if (behind && end >= behind) found.ends[index] = Math.max(end - behind, from);
  });
}
