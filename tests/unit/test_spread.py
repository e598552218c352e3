import json

import pytest

from edgekit.errors import RecordError
from edgekit.spec.reader import parse_json
from edgekit.spec.spread import EDGES, TEXT_LENGTH, WORST, Spread, spread


def inputs(count):
    return [{"text": f"text {place}", "vector": object()} for place in range(count)]


def test_inputs_are_counted_by_their_distance():
    found = spread([1.0, 1 - 5e-7, 0.9995, 0.5, -1.0], inputs(5))
    assert sum(found.counts) == 5
    assert dict(zip(EDGES, found.counts, strict=True)) | {1e-6: 2, 1e-3: 1, 2.0: 2} == dict(
        zip(EDGES, found.counts, strict=True)
    )


@pytest.mark.parametrize(("values", "median"), [([0.5, 0.9, 1.0], 0.9), ([0.5, 0.8, 1.0, 0.9], 0.85), ([0.7], 0.7)])
def test_the_median_is_of_all(values, median):
    assert spread(values, inputs(len(values))).median == pytest.approx(median)


def test_the_worst_come_first_with_what_of_them_is_text():
    values = [1 - 0.01 * place for place in range(20)]
    found = spread(values, inputs(20))
    assert [one.place for one in found.worst] == list(range(19, 19 - WORST, -1))
    assert found.worst[0].texts == {"text": "text 19"}


def test_a_long_text_is_shortened():
    (one,) = spread([1.0], [{"text": "x" * 5000}]).worst
    assert len(one.texts["text"]) == TEXT_LENGTH


def test_it_reads_what_it_writes():
    found = spread([0.25, 0.5, 1.0], inputs(3))
    assert Spread.read(parse_json(json.dumps(found.to_json()).encode(), "spread")) == found


def test_counts_of_another_histogram_are_refused():
    document = spread([1.0], inputs(1)).to_json() | {"counts": [1]}
    with pytest.raises(RecordError, match="counts"):
        Spread.read(parse_json(json.dumps(document).encode(), "spread"))
