"""What the reference models learn from: small source trees with known answers."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import checkpoint, fitting, prose, py_lm, py_modules, py_tokens, scores, sources
from training.split import sample, split

SOURCE = '''"""Tools for tests.

A longer text about them, which is long enough to be a description of its own.
"""
import os

class Box(dict):
    """Holds things."""

    def put(self, thing, *more, key=None, **rest):
        """Put a thing into the box.

        Everything that was given is kept until the box is emptied, in the order given.
        """

if os.name:
    async def ask(cls, /, *, wait): "Wait for an answer."

def _silent(): ...
'''


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "alone.py").write_text('"""Alone."""\n', encoding="utf-8")
    (tmp_path / "broken.py").write_text("def (:\n", encoding="utf-8")
    (tmp_path / "nul.py").write_bytes(b"x = 1\0\n")
    (tmp_path / "escapes.py").write_text('"""Odd \\d escape."""\n', encoding="utf-8")
    for skipped in ("test", "site-packages", "lib2to3"):
        (tmp_path / skipped).mkdir()
        (tmp_path / skipped / "seen.py").write_text('"""Must not be seen."""\n', encoding="utf-8")
    return tmp_path


def test_every_documented_object_is_found_in_one_order(tree):
    found = [(thing.key, thing.signature) for thing in sources.documented(tree)]
    assert found == [
        ("alone:", "alone"),
        ("escapes:", "escapes"),
        ("pkg:", "pkg"),
        ("pkg:Box", "class Box"),
        ("pkg:Box.put", "put(thing, *more, key, **rest)"),
        ("pkg:ask", "ask(wait)"),
    ]


def test_docstrings_come_without_indentation(tree):
    (put,) = [thing for thing in sources.documented(tree) if thing.name == "Box.put"]
    assert put.docstring.splitlines()[2].startswith("Everything")


def test_a_packages_objects_carry_its_name(tree):
    assert {thing.module for thing in sources.documented(tree / "pkg", "pkg")} == {"pkg"}
    assert sources.module_name(Path("a/b.py"), "top") == "top.a.b"
    assert sources.module_name(Path("__init__.py"), "top") == "top"


def test_the_standard_library_is_there_and_large_enough():
    assert sum(1 for _ in sources.source_files(sources.standard_library())) > 300


def test_a_package_that_is_missing_is_named():
    with pytest.raises(ModuleNotFoundError, match="'no_such_package'"):
        sources.package_folder("no_such_package")


@given(st.lists(st.text(), unique=True, max_size=60))
def test_parts_hold_every_item_once_whatever_the_order(keys):
    parts = split(keys, key=str)
    assert sorted(parts.training + parts.calibration + parts.evaluation) == sorted(keys)
    again = split(sorted(keys), key=str)
    assert set(again.evaluation) == set(parts.evaluation)
    assert set(again.calibration) == set(parts.calibration)


def test_items_of_one_group_are_never_torn_apart():
    items = [(f"module{number % 40}", number) for number in range(400)]
    parts = split(items, key=lambda item: item[0])
    groups = [{module for module, _ in part} for part in (parts.training, parts.calibration, parts.evaluation)]
    assert parts.evaluation
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_the_share_held_out_is_what_was_asked_for():
    parts = split(range(10_000), key=str, evaluation=20, calibration=5)
    assert len(parts.evaluation) == pytest.approx(2000, rel=0.1)
    assert len(parts.calibration) == pytest.approx(500, rel=0.2)


def test_a_sample_does_not_depend_on_the_order():
    assert sample("abcdef", str, 3) == sample("fedcba", str, 3)
    assert sorted(sample("abc", str, 9)) == ["a", "b", "c"]


def test_a_summary_is_the_first_paragraph_and_never_part_of_the_text(tree):
    found = prose.pages(sources.documented(tree))
    assert [page.summary for page in found] == ["Tools for tests.", "Put a thing into the box.", "Wait for an answer."]
    assert found[1].text.startswith("put: Everything that was given")
    assert found[2].text == "ask:"
    assert all(page.summary not in page.text for page in found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("moving_average", "moving average"),
        ("stats.MovingAverage", "moving average"),
        ("HTTPServer.do_GET", "do get"),
        ("in1d", "in 1 d"),
        ("Box.__init__", "box init"),
        ("__init__", "init"),
        ("_", "_"),
    ],
)
def test_a_name_becomes_words(name, words):
    assert prose.in_words(name) == words


def test_equal_summaries_and_equal_descriptions_count_once():
    long = "A description that is long enough to be used, because it says this and that. "
    things = [
        sources.Documented("a", "f", "f()", f"Does it well enough.\n\n{long}"),
        sources.Documented("b", "g", "g()", f"does it well  enough.\n\n{long} More."),
        sources.Documented("c", "h", "h()", f"Does something else.\n\n{long}"),
    ]
    assert [page.module for page in prose.pages(things)] == ["a"]


def test_a_long_description_ends_with_a_whole_word():
    assert prose.shortened("one two three", 7) == "one two"
    assert prose.shortened("one two three", 6) == "one"
    assert prose.shortened("one", 3) == "one"


def test_texts_for_the_language_model_are_distinct_and_start_with_the_signature():
    things = [sources.Documented(module, "f", "f(x)", "Does it.") for module in ("a", "b")]
    assert py_lm.texts(things) == [py_lm.Text("f(x)\nDoes it.", "a")]


def test_a_docstring_gets_the_family_of_its_top_module():
    def things(module):
        return [sources.Documented(module, f"f{i}", "f()", f"Text number {i} of module {module}.") for i in range(120)]

    found = py_modules.examples([*things("email.message"), *things("zipfile"), *things("antigravity")])
    assert {(example.key.partition(":")[0], example.label) for example in found} == {
        ("email.message", "text"),
        ("zipfile", "files"),
    }


def test_equal_texts_and_rare_families_are_left_out():
    same = [sources.Documented("zipfile", f"f{i}", "f()", "The same text for everyone.") for i in range(200)]
    assert py_modules.examples(same) == []


def test_no_module_is_of_two_families():
    modules = [module for listed in py_modules.FAMILIES.values() for module in listed.split()]
    assert len(modules) == len(set(modules))


def labelled(source):
    return [list(zip(line.words, line.labels, strict=True)) for line in py_tokens.labelled_lines(source.encode(), "m")]


def test_every_word_of_a_line_gets_its_kind():
    (line,) = labelled("class Box(dict): size = self.count(1) + len('a b')  # two words\n")
    assert line == [
        ("class", "keyword"), ("Box", "class"), ("(", "operator"), ("dict", "builtin"), (")", "operator"),
        (":", "operator"),
        ("size", "name"), ("=", "operator"), ("self", "name"), (".", "operator"), ("count", "call"), ("(", "operator"),
        ("1", "number"), (")", "operator"), ("+", "operator"), ("len", "builtin"), ("(", "operator"), ("'a", "string"),
        ("b'", "string"), (")", "operator"), ("#", "comment"), ("two", "comment"), ("words", "comment"),
    ]  # fmt: skip


def test_definitions_attributes_and_names_differ():
    (line,) = labelled("def run(self, x): return self.x.list\n")
    kinds = dict(line)
    assert kinds["run"] == "function"
    assert kinds["list"] == "attribute"
    assert kinds["self"] == "name"


def test_lines_that_hold_part_of_a_token_are_left_out():
    assert labelled('x = """several\nlines of text here and more\n"""; y = 1 + 2\n') == []
    assert labelled("x = 1\n") == []  # too short to tell anything
    assert labelled("def (:\n  ((\n") == []


def test_every_label_a_line_can_get_has_a_number():
    found = {label for line in py_tokens.labelled_lines(Path(__file__).read_bytes(), "m") for label in line.labels}
    assert found <= set(py_tokens.LABELS)
    assert len(found) >= 9


def test_every_example_comes_once_an_epoch_with_others_of_like_length():
    lengths = [(index * 37) % 90 + 1 for index in range(1000)]
    chosen = fitting.batches(lengths, 16, 2)
    assert sorted(index for batch in chosen for index in batch) == sorted([*range(1000)] * 2)
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in chosen]
    assert sum(spread) / len(spread) < 10
    assert chosen == fitting.batches(lengths, 16, 2)
    assert chosen != fitting.batches(lengths, 16, 2, seed=1)


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("Return the sum.", "return the sum", 1.0),
        ("Return the sum.", "Compute a product.", 0.0),
        ("Return the sum.", "", 0.0),
        ("a b c d", "a c", 2 * 2 / 6),
        ("a b c d", "d c b a", 2 * 1 / 8),
    ],
)
def test_rouge_l_counts_the_longest_common_subsequence(reference, answer, expected):
    assert scores.rouge_l(reference, answer) == pytest.approx(expected)


def test_accuracy_and_its_baseline():
    assert scores.accuracy(["a", "b", "b"], ["a", "b", "a"]) == pytest.approx(2 / 3)
    assert scores.majority(["a", "b", "a"]) == pytest.approx(2 / 3)


def test_unigram_perplexity_of_equal_shares_is_their_number():
    assert scores.unigram_perplexity([[0, 1, 2, 3]], [[0, 1, 2, 3]], vocabulary=4) == pytest.approx(4)


def measured(value, *, higher=True):
    return checkpoint.Measured("accuracy", value, {"chance | any": 0.5}, higher, {"training": 1200}, "About.\n")


def test_a_model_no_better_than_its_baseline_is_told_apart():
    assert measured(0.6).better_than_baselines()
    assert not measured(0.5).better_than_baselines()
    assert not measured(float("nan")).better_than_baselines()
    assert measured(0.4, higher=False).better_than_baselines()


def test_the_card_holds_what_was_measured(tmp_path):
    checkpoint.write_facts(tmp_path, "digits-vit", "image-classification", measured(0.91237), {"seed": 20})
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\npipeline_tag: image-classification\n---\n")
    assert "| this model | **0.9124** |" in card
    assert "| examples for training | 1,200 |" in card
    assert "| seed | 20 |" in card


def test_a_comparison_that_is_better_is_shown_and_not_required(tmp_path):
    found = replace(measured(0.6), comparisons={"the name": 0.7})
    assert found.better_than_baselines()
    checkpoint.write_facts(tmp_path, "any", "any", found, {})
    assert "| the name | 0.7 |" in (tmp_path / "README.md").read_text(encoding="utf-8")
