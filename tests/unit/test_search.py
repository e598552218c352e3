"""Search: the best of what passed, by what was asked for; what failed is shown and never chosen."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.spec.parity import Check, Parity
from edgekit.stages.evidence import Trial
from edgekit.stages.predicted_gain import Prediction
from edgekit.stages.request import OBJECTIVES, check_objective
from edgekit.stages.search import INPUTS, Candidate, choose, measure, table

from .tiny_bundle import tiny_variant


def candidate(name, *, agreement=0.95, size=10, ms=None, verdict="pass"):
    """One made for two targets; the check beside the agreement must not be taken for it."""
    checks = (
        Check("mean cosine", 0.999, 0.99, passed=True),
        Check("nearest-neighbour agreement", agreement, 0.9, passed=True),
        Check("worst agreement alone against in a batch", 0.5, 0.5, passed=True),
    )
    variant = tiny_variant(name)
    parity = Parity(verdict, "because", checks)
    return Candidate(variant, Trial(f"recipe-{name}", name, "int8", variant.targets, "", size, parity), ms)


def chosen(candidates, objective):
    search = choose(candidates, objective)
    return search.chosen[0].variant.name, search.chosen[1]


def test_latency_ships_the_fastest_that_was_timed():
    found = [candidate("a", ms=9.0), candidate("b", ms=5.0, agreement=0.91), candidate("c", ms=7.0, agreement=0.99)]
    assert chosen(found, "latency") == ("b", f"the fastest that passes, 5.0 ms for {INPUTS} golden inputs")


@pytest.mark.parametrize(("ms", "name"), [(5.14, "close"), (5.16, "fast")])
def test_of_two_times_within_3_percent_the_closer_answers_ship(ms, name):
    found = [candidate("fast", ms=5.0, agreement=0.91), candidate("close", ms=ms, agreement=0.95)]
    assert chosen(found, "latency")[0] == name
    assert ("within noise" in chosen(found, "latency")[1]) == (name == "close")


def test_the_closest_of_all_does_not_ship_for_latency_where_it_is_slower():
    found = [candidate("fast", ms=5.0, agreement=0.90), candidate("slow", ms=6.0, agreement=1.0)]
    assert chosen(found, "latency")[0] == "fast"


def test_without_times_the_first_in_the_order_of_cost_ships_for_latency():
    found = [candidate("first", agreement=0.91, size=20), candidate("second", agreement=0.99, size=10)]
    name, reason = chosen(found, "latency")
    assert name == "first"
    assert "order of cost" in reason
    assert "no device of the target" in reason


def test_size_ships_the_smallest_and_of_equals_the_fastest():
    found = [
        candidate("large", size=2_000_000, ms=1.0),
        candidate("slow", size=1_500_000, ms=3.0),
        candidate("fast", size=1_500_000, ms=2.0),
    ]
    assert chosen(found, "size") == ("fast", "the smallest that passes, 1.5 MB")


def test_size_of_equals_without_times_ships_the_first_in_the_order_of_cost():
    assert chosen([candidate("first"), candidate("second", agreement=0.99)], "size")[0] == "first"


def test_accuracy_ships_the_closest():
    found = [candidate("a", agreement=0.93, ms=1.0), candidate("b", agreement=0.97, ms=9.0)]
    assert chosen(found, "accuracy") == ("b", "the closest to the original, agreement 0.9700")


@pytest.mark.parametrize(
    ("times", "name"), [((None, None, None), "first"), ((3.0, 2.0, 4.0), "second")], ids=["untimed", "timed"]
)
def test_equally_accurate_ones_are_told_apart_by_cost(times, name):
    agreements = (0.9600, 0.9602, 0.9601)  # one thousandth is what tells two apart
    found = [
        candidate(word, agreement=agreement, ms=ms)
        for word, agreement, ms in zip(("first", "second", "third"), agreements, times, strict=True)
    ]
    assert chosen(found, "accuracy")[0] == name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_that_failed_is_never_chosen_however_good_it_looks(objective):
    found = [candidate("best", agreement=1.0, size=1, ms=0.1, verdict="fail"), candidate("good", ms=5.0)]
    search = choose(found, objective)
    assert search.best == (found[1].variant, found[1].trial)
    assert search.left == [found[0].trial]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_failed_one_without_a_time_does_not_hide_the_times_of_the_others(objective):
    found = [candidate("a", verdict="fail"), candidate("b", ms=5.0), candidate("c", ms=2.0)]
    assert chosen(found, objective)[0] == "c"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_where_nothing_passed_there_is_no_best_and_all_are_left(objective):
    found = [candidate("a", verdict="fail"), candidate("b", verdict="fail")]
    search = choose(found, objective)
    assert search.best is None
    assert search.left == [one.trial for one in found]
    assert [row["reason"] for row in table([search], objective)["search"]["candidates"]] == ["", ""]


def test_what_could_not_be_proven_may_be_chosen_as_without_a_search():
    assert chosen([candidate("a", verdict="unproven")], "latency")[0] == "a"


@given(
    st.lists(
        st.tuples(st.floats(0.5, 1), st.integers(1, 5), st.floats(1, 2), st.sampled_from(["pass", "fail"])), max_size=8
    ),
    st.sampled_from(OBJECTIVES),
)
def test_nothing_is_lost_and_some_best_of_its_kind_exists_wherever_one_passed(drawn, objective):
    found = [
        candidate(f"v{number}", agreement=agreement, size=size, ms=ms if verdict == "pass" else None, verdict=verdict)
        for number, (agreement, size, ms, verdict) in enumerate(drawn)
    ]
    search = choose(found, objective)
    rows = table([search], objective)["search"]["candidates"]
    passed = [one for one in found if one.passed]
    assert len(search.left) + (search.best is not None) == len(found)
    assert (search.best is not None) == bool(passed) == any(row["pareto"] for row in rows)
    assert all(row["verdict"] == "pass" for row in rows if row["pareto"] or row["reason"])


def flags(found, objective="latency"):
    rows = table([choose(found, objective)], objective)["search"]["candidates"]
    return {row["recipe"].removeprefix("recipe-"): row["pareto"] for row in rows}


def test_one_that_another_beats_in_everything_is_not_marked():
    found = [
        candidate("fast", agreement=0.91, size=10, ms=1.0),
        candidate("close", agreement=0.99, size=30, ms=3.0),
        candidate("dominated", agreement=0.98, size=31, ms=3.5),
    ]
    assert flags(found) == {"fast": True, "close": True, "dominated": False}


def test_being_worse_in_one_thing_alone_is_to_be_beaten():
    one, other = candidate("a", agreement=0.95, ms=2.0), candidate("b", agreement=0.95, ms=2.5)
    assert flags([one, other]) == {"a": True, "b": False}
    assert flags([candidate("a", agreement=0.95), candidate("b", agreement=0.95)]) == {"a": True, "b": True}


def test_one_that_failed_neither_is_marked_nor_beats_another():
    found = [candidate("failed", agreement=1.0, size=1, ms=0.1, verdict="fail"), candidate("good", ms=9.0)]
    assert flags(found) == {"failed": False, "good": True}


def test_the_table_tells_every_candidate_and_why_one_was_chosen():
    found = [candidate("a", agreement=0.9123456789, ms=5.00049), candidate("b", verdict="fail", size=7)]
    assert table([choose(found, "latency")], "latency") == {
        "search": {
            "objective": "latency",
            "timed": True,
            "predicted": [],
            "candidates": [
                {
                    "recipe": "recipe-a",
                    "targets": ["x86_64-avx2", "arm64-neon"],
                    "verdict": "pass",
                    "agreement": 0.912346,
                    "size_bytes": 10,
                    "pareto": True,
                    "reason": "the fastest that passes, 5.0 ms for 4 golden inputs",
                    "latency_ms": 5.0,
                },
                {
                    "recipe": "recipe-b",
                    "targets": ["x86_64-avx2", "arm64-neon"],
                    "verdict": "fail",
                    "agreement": 0.95,
                    "size_bytes": 7,
                    "pareto": False,
                    "reason": "",
                },
            ],
        }
    }


def test_a_table_without_times_holds_none():
    facts = table([choose([candidate("a")], "size")], "size")["search"]
    assert facts["timed"] is False
    assert "latency_ms" not in facts["candidates"][0]


def test_what_int8_was_expected_to_bring_is_told_where_it_was_measured():
    search = dataclasses.replace(choose([candidate("a")], "size"), predicted=Prediction(0.5, 2.0))
    facts = table([search, choose([candidate("b")], "size")], "size")["search"]
    assert facts["predicted"] == [{"share": 0.5, "product_gain": 2.0, "gain": 1.333}]


def test_each_group_of_targets_has_its_own_best():
    groups = [choose([candidate("a"), candidate("b", size=5)], "size"), choose([candidate("c", size=99)], "size")]
    rows = table(groups, "size")["search"]["candidates"]
    assert [bool(row["reason"]) for row in rows] == [False, True, True]
    assert [row["pareto"] for row in rows] == [False, True, True]


def test_without_an_objective_there_is_nothing_to_tell():
    assert table([], None) == {}


@pytest.mark.parametrize(
    ("objective", "hint"),
    [("latncy", "did you mean 'latency'?"), ("", "objectives: latency, size, accuracy"), ("throughput", "objectives")],
)
def test_an_unknown_objective_is_refused_with_a_hint(objective, hint):
    with pytest.raises(UsageError) as refused:
        check_objective(objective, None)
    assert repr(objective) in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_search_among_one_recipe_is_refused(objective):
    with pytest.raises(UsageError, match="chooses the recipe") as refused:
        check_objective(objective, "fp32")
    assert "--recipe" in refused.value.hint


def test_an_objective_or_a_recipe_alone_is_fine():
    for objective, recipe in ((None, None), (None, "fp32"), *((objective, None) for objective in OBJECTIVES)):
        check_objective(objective, recipe)


def test_models_are_timed_on_the_same_first_golden_inputs_in_turns():
    asked = []

    class Fake:
        def __init__(self, name):
            self.name = name

        def golden(self):
            from edgekit.runtime.golden import Golden

            return tuple(Golden({"text": str(number)}, {}) for number in range(INPUTS + 3))

        def raw(self, inputs):
            asked.append((self.name, *(item["text"] for item in inputs)))

    times = measure({"a": Fake("a"), "b": Fake("b")})
    assert set(times) == {"a", "b"}
    assert all(ms >= 0 for ms in times.values())
    one_turn = {name: [(name, str(number)) for number in range(INPUTS)] for name in ("a", "b")}
    turns = [asked[start : start + INPUTS] for start in range(0, len(asked), INPUTS)]
    assert all(turn in (one_turn["a"], one_turn["b"]) for turn in turns)
    assert turns.count(one_turn["a"]) == turns.count(one_turn["b"]) == len(turns) / 2
