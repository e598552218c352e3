"""Tiny random checkpoints that generate, and fp32 bundles of them."""

from pathlib import Path

from edgekit import catalog
from edgekit.stages import component_files, export, fetch, ladder, optimize, package, reference
from edgekit.stages.package import Contents
from edgekit.stages.quiet import quiet

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = (
    "The quick brown fox jumps over the lazy dog. Grüße aus Köln, łódź, 日本語 and 😀 too.",
    "A model is exported once and proven everywhere; the tokens it writes are those of the original.",
)
_SIZES = {"vocab_size": 400, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
_IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}


def write_checkpoint(arch: str, folder: Path) -> None:
    """What save_pretrained writes for a model of this kind and a byte-level tokenizer; the same bytes each time."""
    with quiet():
        import torch

        torch.manual_seed(2)  # with it, greedy texts of every kind have many different tokens
        model = _model(arch)
        with torch.no_grad():  # at the usual 0.02 a random model says one thing again and again
            for name, weights in model.named_parameters():
                if weights.dim() > 1:
                    weights.normal_(0, _spread(arch, name))
                elif "norm" not in name:
                    weights.normal_(0, 0.05)
        model.tie_weights()
        model.save_pretrained(folder)
        _tokenizer().save_pretrained(folder)


def write_bundle(checkpoint: Path, task: str, folder: Path, work: Path) -> Path:
    """An unjudged bundle of one float32 variant."""
    fetched = fetch.fetch(str(checkpoint))
    original = reference.load_reference(fetched, task, work)
    graphs = {name: export.export(part) for name, part in original.parts().items()}
    for graph in graphs.values():
        optimize.optimize(graph)
    component_files.save(graphs, work / "fp32")
    components = {name: package.component(graph) for name, graph in graphs.items()}
    targets = {name: catalog.target(name) for name in ("x86_64-avx2", "arm64-neon")}
    contents = Contents(fetched, original, None, [], components, targets)
    package.draft(contents, [(package.describe(ladder.FP32, tuple(targets), components), work / "fp32")], folder)
    return folder


def _spread(arch, name):
    if name.endswith(("embed_tokens.weight", "wte.weight", "shared.weight")):
        return 0.01 if arch == "gemma" else 0.1  # Gemma scales what it looks up
    return 0.3 if name.endswith(("wpe.weight", "embed_positions.weight")) else 0.25


def _model(arch):
    import transformers as hf

    if arch == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**_SIZES, **_HEADS, **_IDS))
    if arch == "qwen3":
        return hf.Qwen3ForCausalLM(hf.Qwen3Config(**_SIZES, **_HEADS, **_IDS, head_dim=16, tie_word_embeddings=True))
    if arch == "gemma":
        layers = ["sliding_attention", "full_attention"]
        config = hf.Gemma3TextConfig(**_SIZES, **_HEADS, **_IDS, head_dim=16, sliding_window=12, layer_types=layers)
        return hf.Gemma3ForCausalLM(config)
    if arch == "gpt2":
        return hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=400, n_embd=64, n_layer=2, n_head=4, n_positions=256, **_IDS)
        )
    if arch == "t5":
        sizes = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}
        return hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=400, **sizes, **_IDS, decoder_start_token_id=2))
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4)
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 2) | dict.fromkeys(
        ("encoder_ffn_dim", "decoder_ffn_dim"), 96
    )
    config = hf.BartConfig(
        vocab_size=400,
        d_model=64,
        max_position_embeddings=256,
        **heads,
        **sizes,
        **_IDS,
        decoder_start_token_id=1,
        forced_eos_token_id=1,
    )
    return hf.BartForConditionalGeneration(config)


def _tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        model_max_length=256,
        chat_template=CHAT_TEMPLATE,
    )
