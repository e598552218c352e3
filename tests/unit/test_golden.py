import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.errors import InputError, IntegrityError
from edgekit.runtime.golden import Golden, read_golden, write_golden

FLOATS = arrays.arrays(
    np.float32,
    arrays.array_shapes(max_dims=3, max_side=4),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
PIXELS = arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3, max_side=4))
VALUES = st.text() | st.booleans() | st.floats(-10, 10) | st.lists(st.text(), max_size=3) | PIXELS | FLOATS
CASES = st.builds(
    Golden,
    st.dictionaries(st.sampled_from(["text", "image", "labels"]), VALUES, min_size=1),
    st.dictionaries(st.sampled_from(["logits", "embedding", "logits.start"]), FLOATS, min_size=1),
)


@given(st.lists(CASES, min_size=1, max_size=3))
def test_what_is_written_is_read_to_the_bit(cases):
    data = write_golden("some-task", cases)
    read = read_golden(data)
    assert write_golden("some-task", read) == data
    for case, again in zip(cases, read, strict=True):
        for name, array in case.expected.items():
            assert (again.expected[name].dtype, again.expected[name].shape) == (np.float32, array.shape)
            assert again.expected[name].tobytes() == array.tobytes()
        for name, value in case.input.items():
            assert np.array_equal(again.input[name], value)
            assert type(again.input[name]) is type(value)


def array(*values, **changes):
    encoded = base64.b64encode(np.array(values, "<f4").tobytes()).decode()
    return {"dtype": "float32", "shape": [len(values)], "base64": encoded} | changes


def document(**changes):
    case = {"input": {"text": "a"}, "expected": {"embedding": array(1, 1, 1)}}
    return {"schema_version": "2.0", "task": "feature-extraction", "cases": [case | changes]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expected": {"embedding": array(1, 2, shape=[3])}}, "8 bytes, expected 12"),
        ({"expected": {"embedding": array(1, 2, base64="AAA")}}, "not base64"),
        ({"expected": {"embedding": array(1, 2, base64="####")}}, "not base64"),
        ({"expected": {"embedding": array(1, 2, base64="ä")}}, "not base64"),
        ({"expected": {"embedding": array(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, shape=[2])}}, "longer than"),
        ({"expected": {"embedding": array(1, 2, shape=[1 << 30, 1 << 30])}}, "values at most"),
        ({"expected": {"embedding": array(1, 2, shape=["batch"])}}, "expected sizes"),
        ({"expected": {"embedding": array(1, 2, dtype="complex64")}}, "is not one of"),
        ({"expected": {"embedding": array(1, float("nan"), 2)}}, "finite"),
        ({"expected": {"embedding": array()}}, "at least one"),
        ({"expected": {"embedding": [1, 2, 3]}}, "expected an object"),
        ({"expected": {"guess": array(1)}}, "names no kind of answer"),
        ({"expected": {}}, "an input and an answer"),
        ({"input": {}}, "an input and an answer"),
        ({"input": {"text": None}}, "expected a finite number"),
        ({"input": {"image": array(1, dtype="object")}}, "is not one of"),
        ({"inputs": "b"}, "unknown key 'inputs'|missing key"),
    ],
)
def test_broken_cases_are_refused(changes, message):
    with pytest.raises(IntegrityError, match=message):
        read_golden(json.dumps(document(**changes)).encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": []}, "at least one"),
        ({"schema_version": "3.0"}, "schema_version"),
        ({"task": 1}, "task"),
        ({"more": 1}, "unknown key 'more'"),
    ],
)
def test_broken_files_are_refused(change, message):
    with pytest.raises(IntegrityError, match=message):
        read_golden(json.dumps(document() | change).encode())


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data):
    with pytest.raises(IntegrityError):
        read_golden(data)


def test_cases_of_the_earlier_schema_are_read():
    case = {"text": "a", "embedding": array(1, 2, 3)["base64"]}
    (read,) = read_golden(json.dumps({"schema_version": "1.0", "task": "feature-extraction", "cases": [case]}).encode())
    assert read.input == {"text": "a"}
    assert read.expected["embedding"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("vector", [[np.nan, 1], [], [np.inf, 1]])
def test_answers_that_prove_nothing_are_not_written(vector):
    with pytest.raises(InputError, match="case 0"):
        write_golden("any", [Golden({"text": "a"}, {"embedding": np.array(vector, np.float32)})])


def test_text_that_cannot_be_written_is_refused():
    with pytest.raises(InputError, match="lone surrogate"):
        write_golden("any", [Golden({"text": "\ud800"}, {"embedding": np.ones(3, np.float32)})])
