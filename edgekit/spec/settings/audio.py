"""How a waveform becomes the model's input, and how frames of letters become text."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

MIN_SAMPLING_RATE: Final = 1_000
MAX_SAMPLING_RATE: Final = 384_000
MAX_SAMPLES: Final = 1 << 28  # 4.6 hours at 16 kHz; one input of 1 GiB
WINDOWS: Final = ("hann", "povey")

_MAX_FRAME: Final = 1 << 16
_MAX_BINS: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class WaveformFeatures:
    """The samples themselves, as Wav2Vec2FeatureExtractor hands them on.

    Attributes:
        normalize: Whether the samples are shifted to mean 0 and scaled to variance 1.
    """

    KIND: ClassVar[str] = "waveform"

    normalize: bool

    @classmethod
    def read(cls, table: Table) -> Self:
        """Read the keys that belong to this kind."""
        return cls(normalize=table.boolean("normalize"))


@dataclass(frozen=True, slots=True)
class LogMelFeatures:
    """Whisper's log-mel spectrogram of a clip of fixed length, (bins, frames).

    Attributes:
        fft: Samples of a Fourier transform, its periodic Hann window included.
        hop: Samples from one frame to the next.
        bins: Mel bands, Slaney's scale and area, from 0 Hz to ``high_hz``.
        high_hz: Upper end of the highest band.
        clip: Samples the waveform is cut or zero-padded to.
    """

    KIND: ClassVar[str] = "log-mel"

    fft: int
    hop: int
    bins: int
    high_hz: float
    clip: int

    @property
    def frames(self) -> int:
        """Frames of one clip."""
        return self.clip // self.hop

    @classmethod
    def read(cls, table: Table) -> Self:
        """Read the keys that belong to this kind."""
        features = cls(
            fft=table.integer("fft", minimum=2, maximum=_MAX_FRAME),
            hop=table.integer("hop", minimum=1, maximum=_MAX_FRAME),
            bins=table.integer("bins", minimum=1, maximum=_MAX_BINS),
            high_hz=table.number("high_hz", minimum=1, maximum=MAX_SAMPLING_RATE),
            clip=table.integer("clip", minimum=1, maximum=MAX_SAMPLES),
        )
        # The edges are mirrored, which takes more samples than half a window.
        if features.clip <= features.fft // 2 or features.clip < features.hop:
            raise table.error("clip", f"{features.clip} samples are shorter than one frame")
        return features


@dataclass(frozen=True, slots=True)
class FilterBankFeatures:
    """Kaldi's filter banks: 25 ms frames every 10 ms at 16 kHz, (frames, bins) or stacked (rows, stack * bins).

    Attributes:
        bins: Mel bands on Kaldi's scale, from 20 Hz to half the sampling rate.
        window: One of :data:`WINDOWS`.
        scale: What the samples are multiplied by first; Kaldi expects the range of 16-bit integers.
        frames: Frames the result is cut or zero-padded to; 0 keeps all.
        mean: Subtracted, after padding.
        deviation: Divided by, after padding.
        per_bin: Whether each bin is shifted to mean 0 and scaled to variance 1 over the clip's frames.
        stack: Neighbouring frames joined to one row.
        padding: What fills the last row.
    """

    KIND: ClassVar[str] = "filter-bank"

    bins: int
    window: str
    scale: float
    frames: int
    mean: float
    deviation: float
    per_bin: bool
    stack: int
    padding: float

    @classmethod
    def read(cls, table: Table) -> Self:
        """Read the keys that belong to this kind."""
        return cls(
            bins=table.integer("bins", minimum=1, maximum=_MAX_BINS),
            window=table.string("window", choices=WINDOWS),
            scale=table.number("scale", minimum=1e-6, maximum=1e9),
            frames=table.integer("frames", maximum=1 << 20),
            mean=table.number("mean", minimum=-1e6, maximum=1e6),
            deviation=table.number("deviation", minimum=1e-6, maximum=1e6),
            per_bin=table.boolean("per_bin"),
            stack=table.integer("stack", minimum=1, maximum=64),
            padding=table.number("padding", minimum=-1e6, maximum=1e6),
        )


Features = WaveformFeatures | LogMelFeatures | FilterBankFeatures
_KINDS: Final[dict[str, type[WaveformFeatures | LogMelFeatures | FilterBankFeatures]]] = {
    kind.KIND: kind for kind in (WaveformFeatures, LogMelFeatures, FilterBankFeatures)
}


@dataclass(frozen=True, slots=True)
class AudioSettings(Section):
    """How one clip becomes one input of the graph.

    Attributes:
        input: The graph input that takes the features, float32.
        sampling_rate: Samples a second that the model was trained on.
        min_samples: The shortest clip, at ``sampling_rate``, that the graph has an answer for.
        max_samples: The longest clip that is run in one piece.
        features: What is computed from the samples.
    """

    key: ClassVar[str] = "audio"

    input: str
    sampling_rate: int
    min_samples: int
    max_samples: int
    features: Features

    def to_json(self) -> dict[str, Any]:
        """The fields, those of the features beside the others."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "features"}
        features = {field.name: getattr(self.features, field.name) for field in fields(self.features)}
        return {**own, "kind": self.features.KIND, **features}

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        settings = cls(
            input=table.string("input"),
            sampling_rate=table.integer("sampling_rate", minimum=MIN_SAMPLING_RATE, maximum=MAX_SAMPLING_RATE),
            min_samples=table.integer("min_samples", minimum=1, maximum=MAX_SAMPLES),
            max_samples=table.integer("max_samples", minimum=1, maximum=MAX_SAMPLES),
            features=_KINDS[table.string("kind", choices=tuple(_KINDS))].read(table),
        )
        if settings.max_samples < settings.min_samples:
            raise table.error("max_samples", f"{settings.max_samples} is less than min_samples")
        return settings

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What sound it reads."""
        longest = self.max_samples / self.sampling_rate
        return (("reads", f"audio at {self.sampling_rate} Hz, up to {longest:g} s at once, as {self.features.KIND}"),)


@dataclass(frozen=True, slots=True)
class CtcSettings(Section):
    """How frames of token scores become text, as Wav2Vec2CTCTokenizer.decode does it.

    Attributes:
        output: The graph output that holds the scores, (batch, frames, tokens) float32.
        frame_samples: Samples from one frame to the next.
        tokens: The token of each id.
        blank: The token that separates repeats and is dropped: the tokenizer's padding token.
        delimiter: The token between words; empty where there is none.
        space: What ``delimiter`` becomes in the text.
        lower_case: Whether the text is put in lower case.
        clean_up: Whether spaces before punctuation and English contractions are removed.
    """

    key: ClassVar[str] = "ctc"

    output: str
    frame_samples: int
    tokens: tuple[str, ...]
    blank: str
    delimiter: str
    space: str
    lower_case: bool
    clean_up: bool

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        settings = cls(
            output=table.string("output"),
            frame_samples=table.integer("frame_samples", minimum=1, maximum=_MAX_FRAME),
            tokens=table.strings("tokens", max_items=1 << 18),
            blank=table.string("blank"),
            delimiter=table.string("delimiter"),
            space=table.string("space"),
            lower_case=table.boolean("lower_case"),
            clean_up=table.boolean("clean_up"),
        )
        if settings.blank not in settings.tokens:
            raise table.error("blank", f"{settings.blank!r} is none of the tokens")
        return settings

    def outputs(self) -> tuple[str, ...]:
        """The scores."""
        return (self.output,)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What it writes with."""
        return (("answers", f"text, from {len(self.tokens)} tokens"),)
