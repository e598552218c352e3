import { PrecompiledNormalizer } from "@huggingface/tokenizers";
import { HostError } from "./errors.js";
import type { Config } from "./tokenizer.js";

/**
 * Characters (code points), each with the part of the original text it stands for.
 *
 * The tokenizer library gives no offsets, and answers that are spans of a text need them. So text is normalized and
 * split here, piece by piece and with its origin beside it, as Hugging Face's Rust tokenizers do; only the model, which
 * cuts words into tokens, is the library's.
 */
export interface Aligned {
  readonly chars: string[];
  /** First character of the original that a character stands for. */
  readonly starts: number[];
  /** The one behind the last. */
  readonly ends: number[];
}

export function align(text: string): Aligned {
  const chars = [...text];
  return { chars, starts: chars.map((_, place) => place), ends: chars.map((_, place) => place + 1) };
}

/** The characters from one place up to another. */
export function part(text: Aligned, start: number, stop: number): Aligned {
  return {
    chars: text.chars.slice(start, stop),
    starts: text.starts.slice(start, stop),
    ends: text.ends.slice(start, stop),
  };
}

/** The text with something before it, which stands for what its first character stands for. */
export function prepend(text: Aligned, prefix: string): Aligned {
  const added = [...prefix];
  const [start = 0, end = 0] = [text.starts[0], text.ends[0]];
  return {
    chars: [...added, ...text.chars],
    starts: [...added.map(() => start), ...text.starts],
    ends: [...added.map(() => end), ...text.ends],
  };
}

/** Every character replaced by some, which stand for the same part of the original. */
export function mapped(text: Aligned, change: (char: string) => string): Aligned {
  const made: Aligned = { chars: [], starts: [], ends: [] };
  text.chars.forEach((char, place) => {
    for (const next of change(char)) push(made, next, text.starts[place] ?? 0, text.ends[place] ?? 0);
  });
  return made;
}

/** Where a pattern matches, as places of characters: first, and behind the last. */
export function matches(text: Aligned, pattern: RegExp): [number, number][] {
  const whole = text.chars.join("");
  const places = new Map<number, number>();
  let units = 0;
  text.chars.forEach((char, place) => {
    places.set(units, place);
    units += char.length;
  });
  places.set(units, text.chars.length);
  const found: [number, number][] = [];
  for (const match of whole.matchAll(pattern)) {
    const [start, stop] = [places.get(match.index), places.get(match.index + match[0].length)];
    if (match[0] && start !== undefined && stop !== undefined) found.push([start, stop]);
  }
  return found;
}

export type Normalize = (text: Aligned) => Aligned;

/**
 * The normalizer that a `tokenizer.json` describes.
 *
 * @throws HostError It is of a kind that is not known here.
 */
export function normalizer(config: Config | null): Normalize {
  if (config === null) return (text) => text;
  switch (config.type) {
    case "Sequence": {
      const steps = (config["normalizers"] as Config[]).map(normalizer);
      return (text) => steps.reduce((found, step) => step(found), text);
    }
    case "BertNormalizer":
      return bert(config);
    case "Lowercase":
      return (text) => mapped(text, (char) => char.toLowerCase());
    case "StripAccents":
      return (text) => mapped(text, (char) => (/\p{M}/u.test(char) ? "" : char));
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => clustered(text, (cluster) => cluster.normalize(config.type));
    case "Precompiled": {
      const precompiled = new PrecompiledNormalizer(config as never);
      return (text) => clustered(text, (cluster) => precompiled.normalize(cluster));
    }
    case "Strip":
      return (text) => stripped(text, config["strip_left"] === true, config["strip_right"] === true);
    case "Replace": {
      const [wanted, content] = [pattern(config["pattern"]), config["content"] as string];
      return (text) => replaced(text, wanted, content);
    }
    case "Prepend":
      return (text) => (text.chars.length ? prepend(text, config["prepend"] as string) : text);
    default:
      throw new HostError(`the tokenizer's normalizer ${config.type} is not known here`, "use the bundle in Python");
  }
}

/**
 * A pattern of a `tokenizer.json`, which is either text or a regular expression in Oniguruma's syntax.
 *
 * @throws HostError JavaScript does not know that syntax.
 */
export function pattern(config: unknown): RegExp {
  const { String: text, Regex: source } = config as { String?: string; Regex?: string };
  if (text !== undefined) return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gu");
  // The one group with flags that published tokenizers use; older engines know no such groups.
  const contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
  try {
    return new RegExp((source ?? "").replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", contractions), "gu");
  } catch (error) {
    throw new HostError(`the tokenizer's pattern ${source} is not known here`, "use the bundle in Python", {
      cause: error,
    });
  }
}

// Character by character: it neither looks at neighbours nor, as toLowerCase does for whole words, at a word's end.
function bert(config: Config): Normalize {
  const lowercase = config["lowercase"] === true;
  const strips = (config["strip_accents"] ?? lowercase) === true;
  const change = (char: string): string => {
    let found = char;
    if (config["clean_text"]) {
      if (char === "\0" || char === "\ufffd" || (/[\p{Cc}\p{Cf}\p{Co}]/u.test(char) && !/[\t\n\r]/.test(char)))
        return "";
      if (/\s/.test(char)) found = " ";
    }
    if (config["handle_chinese_chars"] && CHINESE.test(found)) found = ` ${found} `;
    if (strips) found = found.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lowercase ? found.toLowerCase() : found;
  };
  return (text) => mapped(text, change);
}

const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/u;

// A character with the marks that follow it, and Hangul's vowels and finals: what composes, composes within these.
const CLUSTER = /\P{M}[\p{M}\u1160-\u11ff]*|\p{M}+/gu;

function clustered(text: Aligned, change: (cluster: string) => string): Aligned {
  const made: Aligned = { chars: [], starts: [], ends: [] };
  for (const [start, stop] of matches(text, CLUSTER)) {
    const changed = [...change(text.chars.slice(start, stop).join(""))];
    // As the Rust tokenizers place them: what composed stands where its first character stood, the rest one for one.
    const shift = stop - start - changed.length;
    changed.forEach((char, index) => {
      const place = start + (index ? Math.max(0, index + shift) : 0);
      push(made, char, text.starts[place] ?? 0, text.ends[place] ?? 0);
    });
  }
  return made;
}

function stripped(text: Aligned, left: boolean, right: boolean): Aligned {
  let [start, stop] = [0, text.chars.length];
  while (left && start < stop && /\s/.test(text.chars[start] ?? "")) start += 1;
  while (right && stop > start && /\s/.test(text.chars[stop - 1] ?? "")) stop -= 1;
  return part(text, start, stop);
}

function replaced(text: Aligned, wanted: RegExp, content: string): Aligned {
  const made: Aligned = { chars: [], starts: [], ends: [] };
  let place = 0;
  for (const [start, stop] of matches(text, wanted)) {
    for (; place < start; place += 1) copy(made, text, place);
    for (const char of content) push(made, char, text.starts[stop - 1] ?? 0, text.ends[stop - 1] ?? 0);
    place = stop;
  }
  for (; place < text.chars.length; place += 1) copy(made, text, place);
  return made;
}

function copy(to: Aligned, from: Aligned, place: number): void {
  push(to, from.chars[place] ?? "", from.starts[place] ?? 0, from.ends[place] ?? 0);
}

function push(to: Aligned, char: string, start: number, end: number): void {
  to.chars.push(char);
  to.starts.push(start);
  to.ends.push(end);
}
