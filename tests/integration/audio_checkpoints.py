"""Tiny audio checkpoints with random weights, as save_pretrained writes them."""

import json
from pathlib import Path

from edgekit.stages.quiet import quiet

SPEECH = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
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
