// Reads {tokenizers, texts, maxLength} as JSON, writes the tokens of each text and of each with the next one.
import { readFileSync } from "node:fs";
import { PairEncoder } from "../dist/encoder.js";

let asked = "";
for await (const chunk of process.stdin) asked += chunk;
const { tokenizers, texts, maxLength } = JSON.parse(asked);

const answers = tokenizers.map((path) => {
  const settings = { tokenizer: path, maxLength, padId: 0, padTypeId: 0 };
  const encoder = new PairEncoder(readFileSync(path), settings);
  const { tokenizer } = encoder;
  return texts.map((text, index) => {
    const { ids, starts, ends, words } = tokenizer.bare(text);
    const pair = encoder.encode("", text, texts[(index + 1) % texts.length]);
    const joined = tokenizer.join(ids.map((id) => tokenizer.token(id)));
    return {
      ids,
      offsets: starts.map((start, place) => [start, ends[place]]),
      sameWord: words.map((word, place) => word === words[place - 1]),
      joined,
      joinedAgain: tokenizer.join([joined, text, joined]),
      cut: encoder.encode("", text).ids,
      pair: [pair.ids, pair.typeIds, pair.sequence],
    };
  });
});
process.stdout.write(JSON.stringify(answers));
