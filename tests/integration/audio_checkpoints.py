"""Tiny audio checkpoints with random weights, as save_pretrained writes them."""

import json
from pathlib import Path

from edgekit.stages.quiet import quiet

SPEECH = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 8, 8),
    "conv_kernel": (10, 8, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 0.5,  # at the usual 0.02 a random model says the same of every sound
}
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAON'"]


def write_wav2vec2(folder: Path) -> None:
    """A recognizer by CTC with a vocabulary of letters."""
    with quiet():
        import torch
        from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

        torch.manual_seed(3)
        folder.mkdir()
        (folder / "vocab.json").write_text(json.dumps({letter: place for place, letter in enumerate(LETTERS)}))
        model = Wav2Vec2ForCTC(Wav2Vec2Config(**SPEECH, vocab_size=len(LETTERS), feat_extract_norm="layer"))
        model.save_pretrained(folder)
        Wav2Vec2CTCTokenizer(folder / "vocab.json").save_pretrained(folder)
        Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)


def write_hubert(folder: Path) -> None:
    """A classifier of waveforms with several labels at once."""
    with quiet():
        import torch
        from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor

        torch.manual_seed(1)
        labels = ["yes", "no", "up", "down"]
        config = HubertConfig(
            **SPEECH,
            classifier_proj_size=16,
            id2label=dict(enumerate(labels)),
            label2id={v: i for i, v in enumerate(labels)},
        )
        HubertForSequenceClassification(config).save_pretrained(folder)
        Wav2Vec2FeatureExtractor().save_pretrained(folder)


def write_ast(folder: Path) -> None:
    """A classifier of spectrograms."""
    with quiet():
        import torch
        from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

        torch.manual_seed(2)
        config = ASTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=37,
            max_length=64,
            num_mel_bins=32,
            initializer_range=0.5,
            problem_type="multi_label_classification",
            id2label={0: "dog", 1: "cat", 2: "rain"},
            label2id={"dog": 0, "cat": 1, "rain": 2},
        )
        ASTForAudioClassification(config).save_pretrained(folder)
        ASTFeatureExtractor(max_length=64, num_mel_bins=32).save_pretrained(folder)


def write_whisper(folder: Path) -> None:
    """A recognizer with a decoder: two languages, two tasks, windows of one second, words of a letter each."""
    with quiet():
        import torch
        from tokenizers import AddedToken
        from transformers import (
            GenerationConfig,
            WhisperConfig,
            WhisperFeatureExtractor,
            WhisperForConditionalGeneration,
            WhisperTokenizer,
        )

        letters = {f"\u0120{letter}" if space else letter: 0 for space in (0, 1) for letter in "abcdefghijklmno"}
        vocabulary = {letter: place for place, letter in enumerate(letters)}
        special = [
            "endoftext",
            "startoftranscript",
            "en",
            "de",
            "translate",
            "transcribe",
            "startofprev",
            "notimestamps",
        ]
        words = WhisperTokenizer(vocab=vocabulary, merges=[])
        words.add_tokens(
            [AddedToken(f"<|{name}|>", special=True, normalized=False) for name in special], special_tokens=True
        )
        words.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in special[1:]]})
        words.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", normalized=False) for step in range(51)])
        ids = {name: words.convert_tokens_to_ids(f"<|{name}|>") for name in special}
        torch.manual_seed(5)
        model = WhisperForConditionalGeneration(
            WhisperConfig(
                vocab_size=len(words),
                d_model=32,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=48,
                decoder_ffn_dim=48,
                num_mel_bins=20,
                max_source_positions=50,
                max_target_positions=40,
                init_std=0.4,
                decoder_start_token_id=ids["startoftranscript"],
                pad_token_id=ids["endoftext"],
                bos_token_id=ids["endoftext"],
                eos_token_id=ids["endoftext"],
                suppress_tokens=None,
                begin_suppress_tokens=None,
            )
        )
        # Unless the rule of times asks for one, a time is never the likeliest token: as in a trained model.
        with torch.no_grad():
            model.get_input_embeddings().weight[ids["notimestamps"] + 1 :] *= 0.1
        model.generation_config = GenerationConfig(
            decoder_start_token_id=ids["startoftranscript"],
            pad_token_id=ids["endoftext"],
            bos_token_id=ids["endoftext"],
            eos_token_id=ids["endoftext"],
            max_length=40,
            suppress_tokens=[vocabulary["o"], ids["startofprev"], ids["startoftranscript"]],
            begin_suppress_tokens=[vocabulary["\u0120a"], ids["endoftext"]],
            is_multilingual=True,
            lang_to_id={"<|en|>": ids["en"], "<|de|>": ids["de"]},
            task_to_id={"translate": ids["translate"], "transcribe": ids["transcribe"]},
            no_timestamps_token_id=ids["notimestamps"],
            max_initial_timestamp_index=10,
            return_timestamps=False,
        )
        model.save_pretrained(folder)
        words.save_pretrained(folder)
        WhisperFeatureExtractor(feature_size=20, chunk_length=1).save_pretrained(folder)
