"""The table of architectures and the page made of results; nothing here needs torch."""

import pytest

from benchmarks.matrix import report, table

TABLE = """
[group.vision]
tasks = ["image-classification"]
types = ["vit", "detr"]

[type.detr]
tasks = ["object-detection"]
config = { num_queries = 5 }
"""


def written(tmp_path, text):
    path = tmp_path / "table.toml"
    path.write_text(text)
    return path


def result(name, task="feature-extraction", word="right", **more):
    found = {"type": name, "task": task, "modality": "vision", "result": word, "reason": "", "whole_seconds": 9.0}
    return (name, task), {**found, **more}


def test_a_type_takes_its_groups_tasks_unless_it_has_its_own(tmp_path):
    detr, vit = table.read(written(tmp_path, TABLE))
    assert (vit.name, vit.modality, vit.tasks) == ("vit", "vision", ("image-classification",))
    assert (detr.tasks, detr.config) == (("object-detection",), {"num_queries": 5})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[type.detr]", "[type.dter]", "type: dter is not one of detr, vit"),
        ('"object-detection"', '"object-detektion"', "the tasks of detr: object-detektion"),
        ("config =", "configuration =", "type.detr: configuration"),
        ('"vit", "detr"', '"vit", "detr", "vit"', "vit stands in vision and in vision"),
        ("tasks = [\"image-classification\"]\ntypes", "task = 1\ntypes", "group.vision: task is"),
    ],
)  # fmt: skip
def test_a_slip_in_the_table_is_named(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message):
        table.read(written(tmp_path, TABLE.replace(old, new)))


def test_the_projects_table_is_sound_and_large():
    rows = table.read()
    assert len(rows) >= 150
    assert {row.modality for row in rows} == {
        "text-encoder", "text-decoder", "encoder-decoder", "vision", "audio", "multimodal",
    }  # fmt: skip


def test_results_survive_the_disk(tmp_path):
    results = dict([result("vit", relative=1e-6, cpu_seconds=3.2)])
    report.save(results, tmp_path / "matrix.json")
    assert report.load(tmp_path / "matrix.json") == results
    assert report.load(tmp_path / "none.json") == {}


def test_a_type_is_as_good_as_its_worst_task():
    results = dict([result("vit"), result("vit", "image-classification", "wrong", reason="off"), result("deit")])
    assert report.summary(results) == "2 types: 1 right, 1 wrong"


def test_the_page_lists_what_fails_with_its_reason_and_repeats_itself():
    results = dict(
        [
            result("vit", relative=1.2e-6, cpu_seconds=3.2),
            result("yoso", word="cannot", reason="exporting: a|b <c>"),
        ]
    )
    page = report.page(results)
    assert "| `vit` | feature-extraction | right | 1e-06 | 3 |" in page
    assert "- **yoso** (feature-extraction), cannot: exporting: a\\|b &lt;c>" in page
    assert page == report.page(dict(reversed(results.items())))
    assert "## In the table, not run yet\n\n`bert`" in report.page(results, ["bert"])
