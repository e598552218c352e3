import { mapped, matches, part, pattern, prepend, type Aligned } from "./aligned.js";
import { HostError } from "./errors.js";
import type { Config } from "./tokenizer.js";

/** Splits a piece of text into words; `first` says whether the piece begins the text. */
export type Split = (text: Aligned, first: boolean) => Aligned[];

const BYTE_LEVEL = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
const PUNCTUATION = "\\p{P}!-\\/:-@\\[-`{-~";
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";

/**
 * The pre-tokenizer that a `tokenizer.json` describes.
 *
 * @throws HostError It is of a kind that is not known here.
 */
export function splitter(config: Config | null): Split {
  if (config === null) return (text) => [text];
  switch (config.type) {
    case "Sequence": {
      const steps = (config["pretokenizers"] as Config[]).map(splitter);
      return (text, first) =>
        steps.reduce((found, step) => found.flatMap((one, index) => step(one, first && index === 0)), [text]);
    }
    case "BertPreTokenizer":
      return only(new RegExp(`[^\\s${PUNCTUATION}]+|[${PUNCTUATION}]`, "gu"));
    case "Whitespace":
      return only(new RegExp(`[${WORD}]+|[^${WORD}\\s]+`, "gu"));
    case "WhitespaceSplit":
      return only(/\S+/gu);
    case "Punctuation":
      return punctuation(config);
    case "Digits":
      return isolated(config["individual_digits"] ? /\p{N}/gu : /\p{N}+/gu);
    case "Split":
      return custom(config);
    case "ByteLevel":
      return byteLevel(config);
    case "Metaspace":
      return metaspace(config);
    default:
      throw unknown(config.type);
  }
}

/** The letter by which a byte-level vocabulary writes each byte. */
export const BYTE_LETTERS: readonly string[] = byteLetters();

function punctuation(config: Config): Split {
  const behavior = (config["behavior"] as string | undefined) ?? "Isolated";
  if (behavior !== "Isolated") throw unknown(`Punctuation (${behavior})`);
  return isolated(new RegExp(`[${PUNCTUATION}]`, "gu"));
}

function custom(config: Config): Split {
  const wanted = pattern(config["pattern"]);
  const [behavior, invert] = [config["behavior"] as string, config["invert"] === true];
  if (behavior === "Isolated") return isolated(wanted);
  if (behavior === "Removed") return invert ? only(wanted) : (text) => between(text, matches(text, wanted), false);
  throw unknown(`Split (${behavior})`);
}

function byteLevel(config: Config): Split {
  const spaced = config["add_prefix_space"] !== false;
  const split = config["use_regex"] === false ? (text: Aligned): Aligned[] => [text] : isolated(BYTE_LEVEL);
  const encoder = new TextEncoder();
  const letters = (char: string): string => Array.from(encoder.encode(char), (byte) => BYTE_LETTERS[byte]).join("");
  return (text) =>
    split(spaced && text.chars[0] !== " " ? prepend(text, " ") : text, false).map((word) => mapped(word, letters));
}

function metaspace(config: Config): Split {
  const replacement = (config["replacement"] as string | undefined) ?? "\u2581";
  const scheme = (config["prepend_scheme"] as string | undefined) ?? "always";
  return (text, first) => {
    const marked = mapped(text, (char) => (char === " " ? replacement : char));
    const wanted = (scheme === "always" || (scheme === "first" && first)) && marked.chars[0] !== replacement;
    const whole = wanted ? prepend(marked, replacement) : marked;
    if (config["split"] === false) return [whole];
    const words: Aligned[] = [];
    let start = 0;
    for (let place = 1; place <= whole.chars.length; place += 1) {
      if (place < whole.chars.length && whole.chars[place] !== replacement) continue;
      words.push(part(whole, start, place));
      start = place;
    }
    return words;
  };
}

/** What a pattern matches, and nothing between. */
function only(wanted: RegExp): Split {
  return (text) => matches(text, wanted).map(([start, stop]) => part(text, start, stop));
}

/** What a pattern matches, and what lies between. */
function isolated(wanted: RegExp): Split {
  return (text) => between(text, matches(text, wanted), true);
}

function between(text: Aligned, found: [number, number][], kept: boolean): Aligned[] {
  const pieces: Aligned[] = [];
  let place = 0;
  for (const [start, stop] of [...found, [text.chars.length, text.chars.length] as const]) {
    if (start > place) pieces.push(part(text, place, start));
    if (kept && stop > start) pieces.push(part(text, start, stop));
    place = stop;
  }
  return pieces;
}

function byteLetters(): string[] {
  const letters: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte += 1) {
    const shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    letters.push(String.fromCharCode(shown ? byte : next));
    if (!shown) next += 1;
  }
  return letters;
}

function unknown(what: string): HostError {
  return new HostError(`the tokenizer's pre-tokenizer ${what} is not known here`, "use the bundle in Python");
}
