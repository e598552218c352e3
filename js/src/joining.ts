import type { Tokenizer as Library } from "@huggingface/tokenizers";
import type { Config } from "./tokenizer.js";
import { BYTE_LETTERS } from "./words.js";

/** Puts tokens together into text. */
export type Join = (tokens: readonly string[]) => string;

const BYTES = new Map(BYTE_LETTERS.map((letter, byte) => [letter, byte]));

/**
 * The decoder that a `tokenizer.json` describes. Words that are joined already are joined again where entities are
 * merged; the library's decoders of the three common kinds do not expect such input, the Rust ones do.
 */
export function joiner(config: Config | null, library: Library): Join {
  switch (config?.type) {
    case undefined:
      return (tokens) => tokens.join(" ");
    case "ByteLevel":
      return fromBytes;
    case "WordPiece":
      return (tokens) => tokens.map((token, index) => piece(token, index, config)).join("");
    case "Metaspace":
      return (tokens) => tokens.map((token, index) => spaced(token, index, config)).join("");
    default:
      return (tokens) => library.decoder?.decode([...tokens]) ?? tokens.join(" ");
  }
}

/** A token that is not written in the bytes' letters stands for itself. */
function fromBytes(tokens: readonly string[]): string {
  const bytes = tokens.flatMap((token) => {
    const found = [...token].map((letter) => BYTES.get(letter));
    return found.every((byte) => byte !== undefined) ? found : [...new TextEncoder().encode(token)];
  });
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}

function piece(token: string, index: number, config: Config): string {
  const prefix = config["prefix"] as string;
  const continues = prefix !== "" && token.startsWith(prefix);
  const shown = index === 0 ? token : continues ? token.slice(prefix.length) : ` ${token}`;
  return config["cleanup"] === true ? cleaned(shown) : shown;
}

function cleaned(text: string): string {
  return text
    .replace(/ ([.?!,])/g, "$1")
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" do not", " don't")
    .replace(/ '(s|ve|re)/g, "'$1");
}

function spaced(token: string, index: number, config: Config): string {
  const replacement = (config["replacement"] as string | undefined) ?? "\u2581";
  const first = index === 0 && config["prepend_scheme"] !== "never";
  return token.replaceAll(replacement, first ? "" : " ");
}
