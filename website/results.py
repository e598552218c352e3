"""The committed results in benchmarks/results, read for the charts; which of them is newest for a question."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from website.links import ROOT

FOLDER: Final = ROOT / "benchmarks" / "results"
MODEL: Final = "minilm"
OURS: Final = "edgekit"
SPINNING: Final = " spinning"
VNNI: Final = "avx512_vnni"


@dataclass(frozen=True, slots=True)
class Result:
    """One file of results.

    Attributes:
        name: The file's.
        values: What is in it.
    """

    name: str
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """Machine and day, for people."""
        host = self.values["host"]
        return f"{host['cores']} cores of {host['cpu']} ({', '.join(host['cpu_features'])}), {host['date']}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """MiniLM by several peers in one run.

    Attributes:
        result: Where it stands.
        ms: By peer and shape, a time for each fresh process, milliseconds.
        quality: By peer, mean cosine and nearest-neighbour agreement with the original.
        ours: By peer, the row of edgekit that it is held against.
    """

    result: Result
    ms: Mapping[str, Mapping[str, Sequence[float]]]
    quality: Mapping[str, tuple[float, float]]
    ours: Mapping[str, str]


def newest(
    part: str,
    folder: Path = FOLDER,
    *,
    feature: str = "",
    lacking: str = "",
    fits: Callable[[Any], bool] = lambda _: True,
) -> Result:
    """The newest result that has a part.

    Args:
        part: A key of the file.
        folder: Where results are.
        feature: A CPU feature that its machine has; any machine where empty.
        lacking: One that it has not.
        fits: Says of the part whether it holds what is looked for.

    Raises:
        LookupError: There is none.
    """
    found = []
    for path in folder.glob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        features = values.get("host", {}).get("cpu_features", [])
        if part not in values or not fits(values[part]):
            continue
        if (not feature or feature in features) and lacking not in features:
            # Of one day the one with the most processes, then the last by name.
            rank = values.get("host", {}).get("date", ""), _replicates(values[part]), path.stem
            found.append((rank, Result(path.name, values)))
    if not found:
        raise LookupError(f"{folder}: no result has {part!r} {feature}")
    return max(found, key=lambda one: one[0])[1]


def comparison(*, vnni: bool) -> Comparison:
    """The newest comparison on a CPU with VNNI, or without."""
    result = newest("peers", feature=VNNI if vnni else "avx2", lacking="" if vnni else VNNI, fits=_has_minilm)
    peers = result.values["peers"]
    if "models" in peers:  # `make bench-peers`
        rows = {name: row for name, row in peers["models"][MODEL]["peers"].items() if "ms" in row}
        return Comparison(
            result,
            {name: row["ms"] for name, row in rows.items()},
            {name: (row["quality"]["cosine"], row["quality"]["agreement"]) for name, row in rows.items()
             if row.get("quality")},
            {name: row["ours"] for name, row in rows.items() if row.get("ours")},
        )  # fmt: skip
    ms = peers["median_ms"]
    theirs = [name for name in ms if name not in {OURS, OURS + SPINNING}]
    return Comparison(
        result,
        ms,
        {name: (row["mean_cosine"], row["nn_agreement"]) for name, row in peers["quality"].items()},
        {name: OURS + SPINNING if name.endswith(SPINNING) else OURS for name in theirs},
    )


def _has_minilm(peers: Mapping[str, Any]) -> bool:
    return MODEL in peers.get("models", {MODEL: {}})  # the older form is of MiniLM alone


def _replicates(part: Any) -> int:
    return int(part.get("replicates", part.get("runs", 0))) if isinstance(part, Mapping) else 0
