"""Which tests of a run on several workers go to the same one."""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]
ASKS_FOR_MINILM = re.compile(r"^def \w+\([^)]*\bminilm\b", re.MULTILINE)


class Together(LoadFileScheduling):
    """A file's tests stay together, and those of all files that ask for the build of MiniLM: it is made once."""

    def _split_scope(self, nodeid: str) -> str:
        return shared(super()._split_scope(nodeid))


@cache
def shared(file: str) -> str:
    """The file, or the costly fixture that its tests share with those of other files."""
    return "minilm" if ASKS_FOR_MINILM.search((ROOT / file).read_text(encoding="utf-8")) else file
