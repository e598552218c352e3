"""What a step of the decode graph reads, from what the prefill graph reads of the same text: for calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from edgekit.stages.inner_session import open_component
from edgekit.stages.reference import Feeds

PREFILL: Final = "prefill"
DECODE: Final = "decode"
TEXTS: Final = 16  # caches of whole texts are large
_CAPACITY: Final = "capacity"  # the cache's third size where the graph appends in place, see edgekit.runtime.decoding


def with_decode(feeds: Mapping[str, Sequence[Feeds]], fp32: Path) -> Mapping[str, Sequence[Feeds]]:
    """Feeds with those of the decode graph, where there are some of the prefill graph and none of it.

    For each text the prefill graph runs over all tokens but the last; the decode graph then reads that one.

    Args:
        feeds: By component.
        fp32: Folder of the float graphs.
    """
    if not feeds.get(PREFILL) or feeds.get(DECODE):
        return feeds
    prefill, decode = open_component(fp32, PREFILL), open_component(fp32, DECODE)
    texts = [text for text in feeds[PREFILL] if text["input_ids"].shape[1] > 1][:TEXTS]
    return {**feeds, DECODE: [_step(prefill, decode, text) for text in texts]}


def _step(prefill: ort.InferenceSession, decode: ort.InferenceSession, text: Feeds) -> dict[str, Any]:
    length = text["input_ids"].shape[1]
    own = {node.name for node in prefill.get_inputs()}
    before = {name: _cut(name, array, length) for name, array in text.items() if name in own}
    names = [node.name for node in prefill.get_outputs()]
    given = dict(zip(names, prefill.run(names, before), strict=True))
    step = {}
    for node in decode.get_inputs():
        name = node.name
        if name == "attention_mask":
            step[name] = np.ones((1, length), np.int64)
        elif name.startswith("past."):
            cache = given["present." + name.removeprefix("past.")]
            room = ((0, 0), (0, 0), (0, 1 if node.shape[2] == _CAPACITY else 0), (0, 0))
            step[name] = np.pad(cache, room)
        elif name in ("input_ids", "position_ids"):
            step[name] = text[name][:, -1:]
        else:  # an encoder's: attended states, as prefill read or cached them
            step[name] = given[name] if name in given else text[name]
    return step


def _cut(name: str, array: Any, length: int) -> Any:
    """Without the last token; what tells of an encoder's tokens stays whole."""
    follows = name in ("input_ids", "attention_mask", "position_ids", "logit_positions")
    return array[:, : length - 1] if follows else array
