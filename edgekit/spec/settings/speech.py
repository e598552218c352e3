"""How a speech model with a decoder is told language and task, and how its tokens become text with times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from edgekit.spec.reader import Table
from edgekit.spec.settings.section import Section

UNDEFINED: Final = -1
"""An id that a model does not have, or a place in the prompt that the language's id takes."""

_MAX_ID: Final = (1 << 31) - 1
_MAX_IDS: Final = 4096


@dataclass(frozen=True, slots=True)
class SpeechSettings(Section):
    """What Whisper's generation config and tokenizer say beside what every generating model has.

    Attributes:
        languages: Id of each language, by its code as in ``en``; none where the model knows one language only.
        names: Code of each of these languages, by its English name.
        tasks: Id of each task, as ``transcribe``.
        language: Code of the language where the caller names none; empty to detect it.
        task: Task where the caller names none; empty for the model's own habit.
        prompt_ids: What follows the decoder's start where neither language nor task is named;
            :data:`UNDEFINED` where the detected language goes.
        special_ids: Ids that are never text.
        no_timestamps_id: Id that asks for text without times, the one before the first time's; :data:`UNDEFINED`
            where the model knows no times.
        max_initial_timestamp: Most steps of time before the first text; :data:`UNDEFINED` for any.
        timestamp_s: Seconds from one time's id to the next.
        timestamp_frames: The same in frames of features.
        return_timestamps: Whether times are asked for where the caller does not say.
    """

    key: ClassVar[str] = "speech"

    languages: Mapping[str, int]
    names: Mapping[str, str]
    tasks: Mapping[str, int]
    language: str
    task: str
    prompt_ids: tuple[int, ...]
    special_ids: tuple[int, ...]
    no_timestamps_id: int
    max_initial_timestamp: int
    timestamp_s: float
    timestamp_frames: int
    return_timestamps: bool

    @classmethod
    def read(cls, table: Table) -> Self:
        """See :meth:`Section.read`."""
        settings = cls(
            languages=_id_map(table.table("languages")),
            names=table.string_map("names"),
            tasks=_id_map(table.table("tasks")),
            language=table.string("language"),
            task=table.string("task"),
            prompt_ids=_ids(table, "prompt_ids"),
            special_ids=_ids(table, "special_ids"),
            no_timestamps_id=table.integer("no_timestamps_id", minimum=UNDEFINED, maximum=_MAX_ID),
            max_initial_timestamp=table.integer("max_initial_timestamp", minimum=UNDEFINED, maximum=_MAX_ID),
            timestamp_s=table.number("timestamp_s", minimum=1e-6, maximum=60),
            timestamp_frames=table.integer("timestamp_frames", minimum=1, maximum=4096),
            return_timestamps=table.boolean("return_timestamps"),
        )
        for key, value, known in (
            ("language", settings.language, settings.languages),
            ("task", settings.task, settings.tasks),
        ):
            if value and value not in known:
                raise table.error(key, f"{value!r} is none of the model's")
        for name, code in settings.names.items():
            if code not in settings.languages:
                raise table.error("names", f"{name!r} is {code!r}, which is none of the languages")
        return settings

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON knows them."""
        maps = {"languages": dict(self.languages), "names": dict(self.names), "tasks": dict(self.tasks)}
        return Section.to_json(self) | maps

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What it understands and can do."""
        languages = f"{len(self.languages)} languages" if self.languages else "one language"
        tasks = f"; {', '.join(self.tasks)}" if self.tasks else ""
        times = "with times" if self.no_timestamps_id != UNDEFINED else "without times"
        return (("understands", f"{languages}{tasks}; {times}"),)


def _id_map(table: Table) -> dict[str, int]:
    return {name: table.integer(name, maximum=_MAX_ID) for name in table.names()}


def _ids(table: Table, key: str) -> tuple[int, ...]:
    return table.integers(key, minimum=UNDEFINED, maximum=_MAX_ID, max_items=_MAX_IDS)
