"""A search that was interrupted goes on where it was. The pipeline's own code runs; only the slow stages are played."""

import dataclasses
import types
from pathlib import Path

import pytest

from edgekit import catalog, pipeline
from edgekit.errors import ParityError
from edgekit.pipeline import BuildRequest, build
from edgekit.runtime.host import Host
from edgekit.spec.parity import BUDGETS, Check, judge, with_limits
from edgekit.spec.progress import Silent
from edgekit.spec.provider import CPU, CPU_ONLY
from edgekit.stages import package, refusal, search_run
from edgekit.stages.bench import Bench
from edgekit.stages.evidence import Trial
from edgekit.stages.ladder import candidates, ladder
from edgekit.stages.package import Contents
from edgekit.stages.start import Start

from .tiny_bundle import tiny_manifest

TARGET = "x86_64-avx2"
COMPONENTS = tiny_manifest().components
RECIPES = [recipe.name for recipe in candidates(COMPONENTS, CPU)]
AGREEMENT = dict.fromkeys(RECIPES, 0.92) | {"int8-dynamic": 0.5, "fp32": 0.99}


class Played:
    """Stands for the stages that need a model: which recipes were tried, and when to interrupt.

    The host is no device of the target, so nothing is timed.
    """

    def __init__(self, monkeypatch):
        self.tried = []
        self.interrupt_at = None
        self.graph = b"float graph"
        self.sealed = None
        monkeypatch.setattr(pipeline, "prepare", self._prepare)
        monkeypatch.setattr(pipeline, "check_export", lambda bench, targets: None)
        monkeypatch.setattr(pipeline, "try_recipe", self._try)
        monkeypatch.setattr(search_run, "try_recipe", self._try)
        monkeypatch.setattr(pipeline, "_seal", self._seal)
        monkeypatch.setattr(refusal, "failed", lambda request, setting, tried: ParityError("nothing passed"))

    def _prepare(self, request, targets, dataset, folder, progress):
        fp32 = folder / "work" / "float-cpu"
        fp32.mkdir(parents=True)
        (fp32 / "model.onnx").write_bytes(self.graph)
        setting = types.SimpleNamespace(
            task="feature-extraction",
            data=types.SimpleNamespace(sha256="ab" * 32),
            answers=types.SimpleNamespace(doubts=()),
            host=Host("arm64", frozenset(), "Example CPU", "linux", CPU_ONLY),
        )
        contents = Contents(None, None, None, (), COMPONENTS, targets)
        starts = {CPU: Start(fp32, {})}
        budgets = with_limits(BUDGETS["vectors"], request.budget)
        return Bench(contents, setting, starts, folder, budgets)

    def _try(self, bench, recipe, targets):
        if recipe.name == self.interrupt_at:
            raise KeyboardInterrupt
        self.tried.append(recipe.name)
        variant = package.describe(recipe, targets, COMPONENTS, CPU)
        files = bench.folder / "work" / variant.name
        files.mkdir()
        (files / "model.onnx").write_bytes(recipe.name.encode())
        agreement = AGREEMENT[recipe.name]
        checks = (Check("nearest-neighbour agreement", agreement, 0.9, passed=agreement >= 0.9),)
        parity = judge(checks, ())
        size = (files / "model.onnx").stat().st_size
        trial = Trial(recipe.name, variant.name, recipe.precision, targets, "", size, parity)
        return dataclasses.replace(variant, parity=parity.verdict, self_test_min=0.99), trial

    def _seal(self, request, bench, shipped, tried, searched):
        files = {
            variant.name: (bench.folder / "work" / variant.name / "model.onnx").read_bytes() for variant, _ in shipped
        }
        self.sealed = shipped, list(tried), searched, files
        return self.sealed


@pytest.fixture
def played(monkeypatch):
    return Played(monkeypatch)


@pytest.fixture
def request_(tmp_path):
    return BuildRequest("any", (TARGET,), tmp_path / "out", optimize="accuracy")


def interrupted(played, request, at=RECIPES[1]):
    played.interrupt_at = at
    with pytest.raises(KeyboardInterrupt):
        build(request, Silent())
    tried, played.tried, played.interrupt_at = played.tried, [], None
    return tried


def beside(request) -> set[str]:
    return {path.name for path in Path(request.output).parent.iterdir()}


def test_an_interrupted_search_does_not_try_again_what_it_has(played, request_):
    assert interrupted(played, request_) == RECIPES[:1]
    assert beside(request_) == {"out.search"}
    build(request_, Silent())
    assert played.tried == RECIPES[1:]
    assert beside(request_) == set()


def test_it_ends_as_one_that_was_not_interrupted(played, request_):
    build(request_, Silent())
    whole, played.tried = played.sealed, []
    interrupted(played, request_, at=RECIPES[-1])
    build(request_, Silent())
    assert played.tried == RECIPES[-1:]
    assert played.sealed == whole
    (shipped, _), *_ = whole[0]
    assert (shipped.recipe, whole[3]) == ("fp32", {"fp32": b"fp32"})


def test_what_ships_may_be_a_trial_of_the_run_before_and_for_another_objective(played, request_, monkeypatch):
    interrupted(played, request_, at="fp32")
    monkeypatch.setitem(AGREEMENT, "fp32", 0.1)
    build(dataclasses.replace(request_, optimize="size"), Silent())  # a played file is as long as its recipe's name
    assert played.tried == ["fp32"]
    assert played.sealed[3] == {"int8-blockwise": b"int8-blockwise"}


@pytest.mark.parametrize("what", ["budget", "graph"])
def test_another_budget_or_model_starts_from_the_beginning(played, request_, what):
    interrupted(played, request_)
    if what == "budget":
        request_ = dataclasses.replace(request_, budget={"neighbours_min": 0.91})
    else:
        played.graph = b"another graph"
    build(request_, Silent())
    assert played.tried == RECIPES
    assert beside(request_) == set()


def test_every_candidate_is_told_of_and_the_chosen_one_is_no_left_one(played, request_):
    build(request_, Silent())
    shipped, tried, searched, _ = played.sealed
    rows = searched["search"]["candidates"]
    assert [row["recipe"] for row in rows] == RECIPES
    assert [row["recipe"] for row in rows if row["reason"]] == [trial.recipe for _, trial in shipped] == ["fp32"]
    assert [trial.recipe for trial in tried] == RECIPES[:-1]
    assert searched["search"]["timed"] is False


def test_trials_stay_where_nothing_passed(played, request_, monkeypatch):
    for name in RECIPES:
        monkeypatch.setitem(AGREEMENT, name, 0.1)
    with pytest.raises(ParityError):
        build(request_, Silent())
    assert beside(request_) == {"out.search"}
    played.tried = []
    with pytest.raises(ParityError):
        build(request_, Silent())
    assert played.tried == []


def test_an_export_without_a_search_keeps_nothing_and_leaves_kept_trials_alone(played, request_):
    interrupted(played, request_)
    build(dataclasses.replace(request_, optimize=None), Silent())
    assert beside(request_) == {"out.search"}
    assert played.tried == [recipe.name for recipe in ladder(None, COMPONENTS)][:2]  # the first passes no budget


def test_only_a_host_that_is_a_device_of_the_target_times(played, request_, monkeypatch):
    timed = []

    def times(bench, found):
        timed.append(len(found))
        return found

    monkeypatch.setattr(search_run, "_timed", times)
    build(request_, Silent())
    assert timed == []
    features = frozenset(catalog.target(TARGET).cpu_features)
    prepare = played._prepare

    def there(*arguments):
        bench = prepare(*arguments)
        bench.setting.host = Host("x86_64", features, "Example CPU", "linux", CPU_ONLY)
        return bench

    monkeypatch.setattr(pipeline, "prepare", there)
    build(request_, Silent())
    assert timed == [len(RECIPES)]
