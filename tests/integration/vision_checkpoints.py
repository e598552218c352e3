"""Tiny random checkpoints for images, with the processors their families use."""

from pathlib import Path

from edgekit.stages.quiet import quiet

from .checkpoints import minilm_folder

SIDE = 32
LABELS = {index: f"label {index}" for index in range(7)}
_SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}


def write_image_checkpoint(folder: Path, kind: str) -> None:
    """What save_pretrained writes for a model of that kind; the same bytes each time."""
    with quiet():
        import torch

        torch.manual_seed(0)
        model, processor = _MAKERS[kind]()
        model.eval().save_pretrained(folder)
        processor.save_pretrained(folder)


def _vit():
    import transformers as t

    config = t.ViTConfig(image_size=SIDE, patch_size=8, initializer_range=0.3, id2label=LABELS, **_SMALL)
    return t.ViTForImageClassification(config), t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _swin():
    import transformers as t

    config = t.SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4,
        initializer_range=0.3, id2label=LABELS, problem_type="multi_label_classification",
    )  # fmt: skip
    return t.SwinForImageClassification(config), t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _resnet():
    import transformers as t

    config = t.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], id2label=LABELS)
    return t.ResNetForImageClassification(config), t.ConvNextImageProcessorPil(size={"shortest_edge": SIDE})


def _vit_features():
    import transformers as t

    config = t.ViTConfig(image_size=SIDE, patch_size=8, initializer_range=0.3, **_SMALL)
    processor = t.DeiTImageProcessorPil(size={"height": 40, "width": 40}, crop_size={"height": SIDE, "width": SIDE})
    return t.ViTModel(config), processor


def _clip():
    import transformers as t

    text = {"max_position_embeddings": 64, "eos_token_id": 102, "bos_token_id": 101, "pad_token_id": 0}
    config = t.CLIPConfig(
        text_config={**_SMALL, **text, "vocab_size": 30522},
        vision_config={**_SMALL, "image_size": SIDE, "patch_size": 8},
        projection_dim=24,
        initializer_factor=8.0,
    )
    processor = t.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return t.CLIPModel(config), _Both(processor, _tokenizer(["input_ids", "attention_mask"]))


def _siglip():
    import transformers as t

    config = t.SiglipConfig(
        text_config={**_SMALL, "max_position_embeddings": 64, "vocab_size": 30522},
        vision_config={**_SMALL, "image_size": SIDE, "patch_size": 8},
    )
    model = t.SiglipModel(config)
    model.logit_scale.data.fill_(2.0)
    model.logit_bias.data.fill_(-1.0)
    processor = t.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return model, _Both(processor, _tokenizer(["input_ids"]))


def _tokenizer(inputs):
    import transformers as t

    return t.PreTrainedTokenizerFast(
        tokenizer_file=str(minilm_folder() / "tokenizer.json"),
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        model_max_length=64,
        model_input_names=inputs,
    )


class _Both:
    """A processor and a tokenizer that are saved together."""

    def __init__(self, *parts):
        self.parts = parts

    def save_pretrained(self, folder):
        for part in self.parts:
            part.save_pretrained(folder)


_MAKERS = {
    "vit": _vit,
    "swin": _swin,
    "resnet": _resnet,
    "vit-features": _vit_features,
    "clip": _clip,
    "siglip": _siglip,
}
