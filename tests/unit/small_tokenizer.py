"""Small real tokenizers: WordPiece like BERT's, byte-level BPE like RoBERTa's, Unigram like XLM-RoBERTa's."""

from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from edgekit.runtime.pairs import PairEncoder
from edgekit.spec.settings.text import TextSettings

WORDS = ("the", "cat", "sat", "on", "a", "mat", "paris", "is", "in", "france", "who", "where", "was", "it", "old")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!"
WORDPIECE = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *LETTERS,
    *(f"##{c}" for c in LETTERS),
    *WORDS[:4],
    *WORDS[5:],
)


@cache
def wordpiece_json():
    ids = {token: number for number, token in enumerate(WORDPIECE)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(WORDPIECE[:5]))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer.to_str().encode()


@cache
def bytelevel_json():
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = []
    for word in WORDS:
        for spelled in (word, "\u0120" + word):
            built = spelled[0]
            for letter in spelled[1:]:
                if (built, letter) not in merges:
                    merges.append((built, letter))
                built += letter
                if built not in tokens:
                    tokens.append(built)
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*tokens[:4], AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    return tokenizer.to_str().encode()


@cache
def unigram_json():
    space = "\u2581"
    tokens = [f"{space}{word}" for word in WORDS] + [space, *LETTERS]
    vocabulary = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((token, -1.0 / len(token)) for token in tokens)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer.to_str().encode()


def encoder(data, max_length=16):
    return PairEncoder(data, TextSettings("text/tokenizer.json", max_length, 0, 0))
