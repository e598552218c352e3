"""The files around the code say what is so: make targets, links, images, the corpus."""

import hashlib
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from ..scheduling import shared  # noqa: TID252 - tests are no installed package

ROOT = Path(__file__).parents[2]
PAGES = sorted(chain(ROOT.glob("*.md"), ROOT.glob("docs/**/*.md")))
CORPUS = ROOT / "edgekit" / "stages" / "corpus"


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_a_page_names_exists(page):
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE))
    assert named <= make_targets()


def test_files_whose_tests_share_the_build_of_minilm_go_to_one_worker():
    files = [ROOT / "tests" / name for name in ("integration/test_minilm.py", "integration/test_check.py")]
    assert {shared(path.relative_to(ROOT).as_posix()) for path in files} == {"minilm"}
    assert shared("tests/unit/test_cli.py") == "tests/unit/test_cli.py"


def test_readme_names_the_two_commands():
    assert {"demo", "test"} <= set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_of_a_page_leads_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|href|srcset)="([^"#]+)"', text)
    for link in links:
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), link


def test_device_image_holds_the_runtime_only():
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    (device,) = [stage for stage in stages if " AS device\n" in stage]
    for word in ("export", "torch", "demo", "[", "COPY . "):
        assert word not in device.split("ENTRYPOINT")[0], word
    assert re.search(r"^USER (?!root|0)", device, re.MULTILINE)


def test_ci_covers_the_oldest_python_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert f'python: ["{oldest}"' in workflow


def test_corpus_en_1_never_changes():
    data = (CORPUS / "en-1.txt").read_bytes()
    assert hashlib.sha256(data).hexdigest() == "cc74dbfaf7feee0dc4e55039766b9b5b8b357f73bf406994667c56b500f8f320"


def test_corpus_has_enough_distinct_sentences_of_several_lengths():
    sentences = (CORPUS / "en-1.txt").read_text(encoding="utf-8").splitlines()
    assert len(sentences) - 200 >= 1000  # the first 200 are for calibration
    assert len({sentence.lower() for sentence in sentences}) == len(sentences)
    for part in (sentences[:200], sentences[200:400], sentences[200:]):
        lengths = [len(sentence) for sentence in part]
        assert min(lengths) >= 30
        assert max(lengths) < 400
        assert sum(length < 60 for length in lengths) >= len(part) // 10
        assert sum(length >= 200 for length in lengths) >= len(part) // 10


def test_distractors_share_more_words_with_the_anchor_than_paraphrases_do():
    lines = (CORPUS / "paraphrases-1.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 60
    nearer = 0
    for line in lines:
        anchor, paraphrase, distractor = (set(re.findall(r"\w+", text.lower())) for text in line.split("\t"))
        nearer += len(anchor & distractor) / len(anchor | distractor) > len(anchor & paraphrase) / len(
            anchor | paraphrase
        )
    assert nearer >= 0.95 * len(lines)


def test_every_test_that_the_page_of_promises_names_exists():
    file, missing, named = "", [], 0
    for path, name in re.findall(r"`([\w/]*)::(\w+)`", (ROOT / "docs" / "promises.md").read_text("utf-8")):
        file = path or file
        source = (ROOT / "tests" / f"{file}.py").read_text("utf-8")
        named += 1
        if not re.search(rf"^def test_{name}\(", source, re.MULTILINE):
            missing.append(f"{file}::{name}")
    assert named > 100
    assert missing == []
