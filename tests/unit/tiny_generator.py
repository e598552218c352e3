"""Bundles of a few kilobytes that generate: the decoder of tiny_decoder.py with a tokenizer of 16 words."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from edgekit.bundle.writing import write_manifests
from edgekit.runtime.golden import write_golden
from edgekit.spec.manifest import Component
from edgekit.spec.settings.generation import GenerationSettings
from edgekit.spec.settings.text import TextSettings

from .tiny_decoder import component, expected, tiny_encoder
from .tiny_model import FOLDER, plain_variant, tiny_manifest

WORDS = ("<pad>", "<s>", "</s>", *(f"w{number}" for number in range(3, 16)))
MAX_LENGTH = 32
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ bos_token }} {{ m.content }} {% endfor %}{% if add_generation_prompt %}w15{% endif %}"
)


def ids(text):
    return [WORDS.index(word) for word in text.split()]


def words(numbers):
    """The text of ids; <s> and <pad> are special and leave none."""
    return " ".join(WORDS[number] for number in numbers if number > 1)


def continued(text, count, *, encoder=0):
    """What the model writes behind a text, computed without it."""
    return words(expected(ids(text), count, encoder=encoder))


def generation(**changes):
    fields = {
        "kind": "decoder",
        "layers": 1,
        "eos_ids": (),
        "pad_id": 0,
        "bos_id": 1,
        "decoder_start_id": None,
        "max_positions": MAX_LENGTH,
        "do_sample": False,
        "num_beams": 1,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "max_length": None,
        "max_new_tokens": 8,
        "min_length": 0,
        "min_new_tokens": 0,
        "forced_bos_id": None,
        "forced_eos_ids": (),
        "suppress_ids": (),
        "begin_suppress_ids": (),
        "prefixes": {},
        "clean_up": False,
        "chat_template": "",
        "special_tokens": {"bos_token": "<s>"},
        "judged_places": 4,
    }
    return GenerationSettings(**(fields | changes))


def write_generator(folder: Path, **changes) -> Path:
    """A bundle for text-generation; ``changes`` fields of its GenerationSettings."""
    return _write(folder, "text-generation", {}, generation(**changes))


def write_seq2seq(folder: Path, **changes) -> Path:
    """A bundle for text2text-generation."""
    fields = {"kind": "encoder-decoder", "decoder_start_id": 0} | changes
    return _write(folder, "text2text-generation", {"encoder": tiny_encoder()}, generation(**fields))


def _write(folder, task, encoder, settings):
    made = encoder | {name: component(name, encoder=bool(encoder)) for name in ("prefill", "decode")}
    content = {f"{FOLDER}/{name}.onnx": graph for name, (graph, _, _) in made.items()} | {
        "text/tokenizer.json": _tokenizer(),
        "golden/cases.json": write_golden(task, []),
    }
    if settings.chat_template:
        content[settings.chat_template] = CHAT_TEMPLATE.encode()
    for path, data in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    manifest = tiny_manifest(
        task=task,
        components={name: Component(inputs, outputs) for name, (_, inputs, outputs) in made.items()},
        settings={"text": TextSettings("text/tokenizer.json", MAX_LENGTH, 0, 0), "generation": settings},
        variants=(plain_variant(graphs={name: f"{name}.onnx" for name in made}),),
    )
    write_manifests(folder, manifest)
    return folder


def _tokenizer():
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<pad>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<pad>", "<s>"])
    return tokenizer.to_str().encode()
