"""What a build says of the flags of ``edgekit export``, in the words of a matrix, which has them in its file."""

from __future__ import annotations

import re
from typing import Final

# By flag: what stands in the file for it, under the model, the target or the recipe.
KEYS: Final = {
    "allow-pickle": "allow_pickle = true",
    "allow-unproven": "allow_unproven = true",
    "budget": "budget",
    "data": "data",
    "optimize": "optimize",
    "recipe": "recipe",
    "revision": "revision",
    "target": "targets",
    "task": "task",
}
_FLAG: Final = re.compile(rf"(?<![\w/.-])--({'|'.join(KEYS)})(?![\w-])(?: ([a-z]+\d\S*))?")


def in_the_file(text: str) -> str:
    """A message or a hint with the keys of the file in the place of flags; ``--recipe fp32`` is ``recipe = "fp32"``."""
    return _FLAG.sub(lambda found: f'{KEYS[found[1]]} = "{found[2]}"' if found[2] else KEYS[found[1]], text)
