"""Make the built-in English corpus from CPython's own documentation strings.

    python3.11 benchmarks/make_corpus.py edgekit/stages/corpus/en-1.txt

Reads ``pydoc_data/topics.py`` and the docstrings of every module of the standard library with
``ast``; nothing is imported or executed. The result depends on the Python that runs it: ``en-1`` was
made with 3.11.7 and stays as it is. A newer Python gives other sentences, so a new version, ``en-2``:
evidence names the corpus it was judged on.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MADE_WITH = (3, 11, 7)

# How many sentences of each range of lengths, in characters: short and long ones are rarer in life, too.
WANTED = {(30, 60): 300, (60, 200): 940, (200, 400): 260}
PER_FILE = 30  # no module's vocabulary may dominate
PER_FILE_TOPICS = 260
SIMILAR = 0.5  # Jaccard similarity of word sets from which two sentences count as one

SKIPPED_FOLDERS = {"site-packages", "test", "tests", "idle_test", "lib2to3", "__pycache__", "encodings", "ensurepip"}
FUNCTION_WORDS = (
    "a an the is are was be been has have of to in on for with by from that this which it its if when as or and not "
    "can may will must should does do there than at"
)
NOT_PROSE = re.compile(r"[^\x20-\x7e]|[<>{}|\\=\[\]@~^$%#*]|->|--|://|__|\w- \w|,,| [.,;]")
ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "cf.", "Mr.", "Dr.", "viz.", "approx.", "incl.", "resp.")


def main() -> None:
    """Write the corpus to the path given as the only argument."""
    if sys.version_info[:3] != MADE_WITH:
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"note: this is Python {found}; en-1 was made with 3.11.7, so call the result en-2", file=sys.stderr)
    chosen = choose(Path(sysconfig.get_path("stdlib")))
    Path(sys.argv[1]).write_text("".join(f"{sentence}\n" for sentence in chosen), encoding="utf-8", newline="\n")
    for (low, high), wanted in WANTED.items():
        found_here = sum(low <= len(sentence) < high for sentence in chosen)
        print(f"{low}..{high} characters: {found_here} of {wanted}")
    print(f"{len(chosen)} sentences")


def choose(library: Path) -> list[str]:
    """The corpus: sentences in the order of their SHA-256, which no random generator can change."""
    candidates: list[tuple[str, str]] = []  # (sentence, file)
    for file in sorted(library.rglob("*.py")):
        if SKIPPED_FOLDERS & set(file.relative_to(library).parts):
            continue
        for text in docstrings(file):
            candidates += [(sentence, file.name) for sentence in sentences(text)]
    candidates.sort(key=lambda pair: (hashlib.sha256(pair[0].encode()).digest(), pair[1]))
    taken: list[str] = []
    by_length: Counter[tuple[int, int]] = Counter()
    by_file: Counter[str] = Counter()
    seen = SeenBefore()
    for sentence, name in candidates:
        band = next(band for band in WANTED if band[0] <= len(sentence) < band[1])
        limit = PER_FILE_TOPICS if name == "topics.py" else PER_FILE
        if by_length[band] == WANTED[band] or by_file[name] == limit or seen.similar(sentence):
            continue
        seen.add(sentence)
        by_length[band] += 1
        by_file[name] += 1
        taken.append(sentence)
    # Once more, salted: short sentences filled their share early and would stand in front.
    return sorted(taken, key=lambda sentence: hashlib.sha256(b"order" + sentence.encode()).digest())


class SeenBefore:
    """Remembers sentences by their words, to refuse copies and near copies."""

    def __init__(self) -> None:
        self._words: list[frozenset[str]] = []
        self._holders: dict[str, list[int]] = {}

    def add(self, sentence: str) -> None:
        """Remember ``sentence``."""
        words = _words(sentence)
        for word in words:
            self._holders.setdefault(word, []).append(len(self._words))
        self._words.append(words)

    def similar(self, sentence: str) -> bool:
        """Whether a remembered sentence has nearly the same words."""
        words = _words(sentence)
        shared = Counter(index for word in words for index in self._holders.get(word, ()))
        return any(count / len(words | self._words[index]) >= SIMILAR for index, count in shared.items())


def docstrings(file: Path) -> Iterator[str]:
    """Documentation strings of a module; for ``topics.py`` the values of its one dictionary."""
    tree = ast.parse(file.read_bytes())
    if file.name == "topics.py":
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                yield from (value.value for value in node.values if _is_text(value))
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text


def sentences(text: str) -> Iterator[str]:
    """The prose sentences of a documentation string."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = block.splitlines()
        indents = {len(line) - len(line.lstrip()) for line in lines}
        if len(indents) > 1 or re.search(r">>>|\.\. |::=|^\s*[-*+|=~^#$]|^\s*\w+\s+--\s", block, re.MULTILINE):
            continue  # code, lists, tables, signatures, grammar
        flat = _unmarked(" ".join(line.strip() for line in lines))
        yield from (sentence for sentence in _split(flat) if _is_prose(sentence))


def _unmarked(text: str) -> str:
    text = re.sub(r":\w+(:\w+)?:`([^`]+)`", r"\2", text)
    text = text.replace("`", "").replace('"', "")
    text = re.sub(r"\*+(\w[^*]*?)\*+", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def _split(text: str) -> Iterator[str]:
    start = 0
    for match in re.finditer(r"[.!?]\)?(?=\s+\(?[A-Z])", text):
        if text[: match.end()].endswith(ABBREVIATIONS):
            continue
        yield text[start : match.end()].strip()
        start = match.end()
    yield text[start:].strip()


def _is_prose(sentence: str) -> bool:
    if not 30 <= len(sentence) < 400 or not re.match(r"[A-Z]", sentence) or sentence[-1] not in ".!?":
        return False
    if sentence.endswith(("..", *ABBREVIATIONS)) or NOT_PROSE.search(sentence):
        return False
    if re.search(r"[.!?]\)? ", sentence) and not any(f"{word} " in sentence for word in ABBREVIATIONS):
        return False  # two sentences in one line
    if sentence.count("(") != sentence.count(")"):
        return False
    letters = sum(character.isalpha() or character == " " for character in sentence)
    words = re.findall(r"[a-z]+", sentence.lower())
    little = set(FUNCTION_WORDS.split()) & set(words)
    return letters >= 0.93 * len(sentence) and len(words) >= 5 and len(little) >= 2


def _words(sentence: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z]+", sentence.lower()))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


if __name__ == "__main__":
    main()
