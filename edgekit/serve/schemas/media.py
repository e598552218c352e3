"""Tasks that read images or sounds: base64 in JSON, or files in a form."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, Self

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from edgekit.serve.schemas.strict import Count, Parameters, Request, Template
from edgekit.serve.schemas.text import Activation, LabelScore, Vector

# Standard alphabet with padding. The pattern keeps whoever reads the schema from sending anything else.
Encoded = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9+/]+={0,2}$",
        description="A file in base64: an image that Pillow reads, or a WAV file.",
        json_schema_extra={"contentEncoding": "base64"},
    ),
]
Files = Encoded | list[Encoded]


class ImageParameters(Parameters):
    """Options of image classification."""

    top_k: Count | None = 5
    function_to_apply: Activation | None = None


class ImageRequest(Request):
    """Images to label."""

    inputs: Files
    parameters: ImageParameters = ImageParameters()


ImageAnswer = list[LabelScore] | list[list[LabelScore]]


class ImageFeatureParameters(Parameters):
    """Options of image features."""

    pool: bool = False


class ImageFeatureRequest(Request):
    """Images whose hidden states are wanted."""

    inputs: Files
    parameters: ImageFeatureParameters = ImageFeatureParameters()


ImageEmbedAnswer = Vector | list[Vector]
Grid = list[list[Vector]]
ImageFeatureAnswer = list[Vector] | Grid | list[Grid] | list[list[Grid]]


class ImageEmbedRequest(Request):
    """Images to turn into vectors."""

    inputs: Files


class ZeroShotImageParameters(Parameters):
    """Options of zero-shot image classification."""

    candidate_labels: Annotated[list[str], Field(min_length=1)]
    hypothesis_template: Template = "This is a photo of {}."


class ZeroShotImageRequest(Request):
    """Images, and the labels to choose from."""

    inputs: Files
    parameters: ZeroShotImageParameters


class AudioParameters(Parameters):
    """Options of audio classification."""

    top_k: Count | None = None
    function_to_apply: Activation | None = None


class AudioRequest(Request):
    """Sounds to label."""

    inputs: Files
    parameters: AudioParameters = AudioParameters()


class SpeechParameters(Parameters):
    """Options of speech recognition: ``char`` and ``word`` where the model answers by frames, else true and false."""

    return_timestamps: bool | Literal["char", "word"] | None = None
    chunk_length_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    stride_length_s: Annotated[float, Field(ge=0, le=3600)] | list[float] | None = None
    language: str | None = None
    task: str | None = None
    max_new_tokens: Count | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Chunks of a blink, or ones that hardly move on, would make thousands of runs of one clip."""
        stride = self.stride_length_s
        context = sum(stride) if isinstance(stride, list) else 2 * (stride or 0)
        if 0 < self.chunk_length_s < 1 or (self.chunk_length_s and context > self.chunk_length_s * 2 / 3):
            raise ValueError("chunks must have at least 1 s, and at most two thirds of context")
        return self


class SpeechRequest(Request):
    """Speech to write down."""

    inputs: Files
    parameters: SpeechParameters = SpeechParameters()


class Timed(TypedDict):
    """A piece of the text, with its first and last second."""

    text: str
    timestamp: tuple[float | None, float | None]


class Transcript(TypedDict):
    """What was said."""

    text: str
    chunks: NotRequired[list[Timed]]


SpeechAnswer = Transcript | list[Transcript]
