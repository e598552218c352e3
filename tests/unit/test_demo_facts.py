"""What stands beside a demo's answers: the bundle's own evidence, as text that cannot be markup."""

import dataclasses

import pytest

from edgekit.demo.facts import escaped, gather, markdown, table_of
from edgekit.demo.panels import PANELS, panel
from edgekit.errors import InputError, UsageError
from edgekit.runtime import load
from edgekit.runtime.tasks import CLASSES
from edgekit.spec.parity import judge

from .checked_bundle import COSINE, NORMS, evidence, write_checked_bundle
from .tiny_model import write_tiny_model

NASTY = "<script>alert(1)</script> | [x](javascript:alert(1)) `y` $z$ **w**"


class Component:
    """Stands for whatever Gradio makes."""

    def __init__(self, *arguments, **options):
        self.options = options


class Gradio:
    def __getattr__(self, name):
        return Component


def told(folder, document=None):
    write_checked_bundle(folder, document=document)
    with load(folder) as model:
        return gather(model)


def test_the_variant_that_is_open_has_its_verdict_and_every_check(tmp_path):
    facts = told(tmp_path / "bundle")
    assert facts.verdict == "pass"
    assert [name for name, _, _ in facts.checks] == [COSINE.name, NORMS.name]
    assert facts.checks[0][1:] == (f"{COSINE.measured:.4g}", f"{COSINE.bound:.4g}")
    assert "no times" in markdown(facts)


def test_a_verdict_that_is_no_pass_says_why(tmp_path):
    document = evidence()
    document["variants"][0]["parity"] = judge((COSINE, NORMS), ("30 texts are fewer than 100",)).to_json()
    facts = told(tmp_path / "bundle", document)
    assert facts.verdict == "unproven"
    assert "30 texts are fewer than 100" in markdown(facts)


def test_times_of_a_search_are_those_of_the_open_variants_targets(tmp_path):
    document = evidence()
    targets = [target["name"] for target in document["variants"][0]["targets"]]
    row = {"verdict": "pass", "agreement": 0.9, "size_bytes": 1, "pareto": True}
    document["search"] = {
        "objective": "latency",
        "timed": True,
        "candidates": [
            row | {"recipe": "int8-dynamic", "targets": targets, "latency_ms": 2.04, "reason": "the fastest"},
            row | {"recipe": "fp32", "targets": targets, "latency_ms": 9.0, "reason": ""},
            row | {"recipe": "fp16", "targets": ["cuda"], "latency_ms": 1.0, "reason": ""},
        ],
    }
    assert told(tmp_path / "bundle", document).times == (("int8-dynamic, chosen", "2.0"), ("fp32", "9.0"))


def test_a_bundle_without_evidence_says_so(tmp_path):
    write_tiny_model(tmp_path / "bundle")
    with load(tmp_path / "bundle") as model:
        text = markdown(gather(model))
    assert "no evidence in this bundle" in text


def test_what_comes_from_a_bundle_or_a_visitor_is_no_markup(tmp_path):
    facts = dataclasses.replace(told(tmp_path / "bundle"), title=NASTY, reason=NASTY, rows=(("source", NASTY),))
    for text in (markdown(facts), table_of(["a", "b"], [[NASTY, "c\n| d | e |"]])):
        assert "<script" not in text
        assert "](" not in text
        assert "\\| \\[x\\]\\(javascript" in text
    assert len(table_of(["a", "b"], [["c\n| d", "e"]]).splitlines()) == 3
    assert escaped("a_b") == "a\\_b"


def test_every_task_has_a_panel():
    assert set(PANELS) == set(CLASSES)


def test_a_panel_answers_what_the_runtime_does_and_refuses_nothing_at_all(tmp_path):
    write_tiny_model(tmp_path / "bundle")
    with load(tmp_path / "bundle") as model:
        shown = panel(Gradio(), model)
        (table,) = shown.answer("word1\n\n word2 word3 \n")
        first, second = model.embed(["word1", "word2 word3"])
        assert f"| 1. word1 | 1.000 | {first @ second:.3f} |" in table.replace("\\", "")
        with pytest.raises(InputError, match="write a text first"):
            shown.answer(" \n ")


def test_a_task_without_a_panel_is_refused():
    class Unknown:
        manifest = type("Manifest", (), {"task": "depth-estimation"})

    with pytest.raises(UsageError, match="depth-estimation"):
        panel(Gradio(), Unknown())
