import math
import random
from collections import Counter

import pytest

from edgekit.checks.sequential import FAIL, INCONCLUSIVE, LOOKS, PASS, Block, due, judge, last, verdict


def blocks(values, control=0.0):
    return [Block(value, control) for value in values]


def spread(middle, count, width=0.01):
    """Values around the middle, evenly."""
    return [middle + width * (2 * place / (count - 1) - 1) for place in range(count)]


def test_the_looks_spend_all_there_is_and_no_more():
    assert math.fsum(share for _, share in LOOKS) == pytest.approx(1)
    assert [due(count) for count in (7, 8, 9)] == [False, True, False]
    assert last() == LOOKS[-1][0]


@pytest.mark.parametrize("count", [at for at, _ in LOOKS])
@pytest.mark.parametrize(("middle", "expected"), [(0.0, PASS), (0.12, FAIL), (math.log(1.05), INCONCLUSIVE)])
def test_an_interval_is_below_above_or_over_the_margin(count, middle, expected):
    final = count == last()
    assert judge({"one": blocks(spread(middle, count))}, 0.05, final=final)["one"].verdict == expected


def test_faster_passes():
    ratio = judge({"one": blocks(spread(-0.3, 8))}, 0.05, final=False)["one"]
    assert ratio.verdict == PASS
    assert ratio.estimate == pytest.approx(math.exp(-0.3))


def test_too_few_blocks_decide_nothing():
    ratio = judge({"one": blocks([0.5] * 4)}, 0.05, final=True)["one"]
    assert ratio.verdict == INCONCLUSIVE
    assert (ratio.low, ratio.high) == (0, math.inf)
    assert ratio.to_json()["high"] is None


def test_the_last_look_may_miss_by_what_no_look_has_spent():
    # Nine blocks, the time over: the look at eight has spent its share, the others did not come.
    values = [*[0.0] * 8, 0.2]
    early, late = (judge({"one": blocks(values[:8])}, 0.05, final=final)["one"] for final in (False, True))
    assert early.high == late.high == 1.0
    wide = spread(0.02, 9, 0.09)
    assert judge({"one": blocks(wide)}, 0.05, final=True)["one"].high < max(map(math.exp, wide))


def test_measures_share_what_a_fail_may_spend_and_not_what_a_pass_may():
    values = blocks(spread(0.03, 12, 0.06))
    alone = judge({"one": values}, 0.05, final=False)["one"]
    beside = judge({"one": values, "other": values, "third": values}, 0.05, final=False)["one"]
    assert beside.low < alone.low
    assert beside.high == alone.high


def test_a_bundle_that_differs_from_itself_proves_nothing():
    sure = [Block(0.0, 0.2 + 0.001 * place) for place in range(8)]
    assert judge({"one": sure}, 0.05, final=False)["one"].verdict == INCONCLUSIVE
    small = [Block(0.0, 0.01 + 0.0001 * place) for place in range(8)]
    assert judge({"one": small}, 0.05, final=False)["one"].verdict == PASS


@pytest.mark.parametrize(
    ("found", "expected"), [((PASS, PASS), PASS), ((PASS, INCONCLUSIVE), INCONCLUSIVE), ((INCONCLUSIVE, FAIL), FAIL)]
)
def test_one_measure_is_enough_to_fail(found, expected):
    middle = {PASS: 0.0, INCONCLUSIVE: math.log(1.05), FAIL: 0.12}
    ratios = judge({str(n): blocks(spread(middle[one], 8)) for n, one in enumerate(found)}, 0.05, final=False)
    assert verdict(ratios) == expected


def simulated(rng, ratio, noise, measures=2):
    """The verdict of a run of 13 blocks, as many as fit where processes start slowly; one block in ten is wild."""
    found = {str(number): [] for number in range(measures)}

    def error(size):
        return rng.gauss(0, size * (4 if rng.random() < 0.1 else 1))

    for count in range(1, 14):
        for values in found.values():
            values.append(Block(math.log(ratio) + error(noise), error(noise * math.sqrt(2))))
        if count == 13 or due(count):
            word = verdict(judge(found, 0.05, final=count == 13))
            if word != INCONCLUSIVE:
                return word
    return INCONCLUSIVE


@pytest.mark.parametrize("noise", [0.01, 0.02])
def test_8_percent_are_found_in_9_of_10_runs_and_equal_bundles_pass_in_19_of_20(noise):
    # docs/check.md has the whole table, and what this machine's noise is.
    rng = random.Random(1)  # noqa: S311 - seeded on purpose
    slower = Counter(simulated(rng, 1.08, noise) for _ in range(100))
    assert slower[FAIL] >= 90
    assert slower[PASS] == 0
    equal = Counter(simulated(rng, 1.0, noise) for _ in range(100))
    assert equal[PASS] >= 95
    assert equal[FAIL] == 0


@pytest.mark.parametrize("noise", [0.01, 0.04])
def test_exactly_at_the_margin_a_verdict_errs_in_1_of_20_runs_at_most(noise):
    rng = random.Random(2)  # noqa: S311 - seeded on purpose
    found = Counter(simulated(rng, 1.05, noise) for _ in range(200))
    # Binomial(200, 0.05) exceeds 18 once in 100.
    assert found[FAIL] <= 18
    assert found[PASS] <= 18
