import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import InputError, IntegrityError
from edgekit.runtime.golden import read_golden, write_golden

DIMENSION = 3
VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3).filter(any)


@given(st.lists(st.tuples(st.text(), VECTORS), min_size=1, max_size=5))
def test_what_is_written_is_read_to_the_bit(cases):
    cases = [(text, np.array(vector, np.float32)) for text, vector in cases]
    data = write_golden(cases)
    read = read_golden(data, DIMENSION)
    assert [case.text for case in read] == [text for text, _ in cases]
    assert [case.embedding.tobytes() for case in read] == [vector.tobytes() for _, vector in cases]
    assert write_golden([(case.text, case.embedding) for case in read]) == data


def document(**changes):
    case = {"text": "a", "embedding": base64.b64encode(np.ones(3, "<f4").tobytes()).decode()}
    return {"schema_version": "1.0", "task": "feature-extraction", "cases": [case | changes]}


def encoded(*values):
    return base64.b64encode(np.array(values, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding": encoded(1, 2)}, "expected 3 float32 values"),
        ({"embedding": "AAA"}, "not base64"),
        ({"embedding": "####"}, "not base64"),
        ({"embedding": "ä"}, "not base64"),
        ({"embedding": encoded(1, 2, 3, 4, 5, 6, 7, 8)}, "longer than"),
        ({"embedding": encoded(1, float("nan"), 2)}, "finite"),
        ({"embedding": encoded(0, 0, 0)}, "not all zero"),
        ({"embedding": [1, 2, 3]}, "expected a string"),
        ({"text": 5}, "expected a string"),
        ({"texts": "b"}, "unknown key 'texts'"),
    ],
)
def test_broken_cases_are_refused(changes, message):
    with pytest.raises(IntegrityError, match=message):
        read_golden(json.dumps(document(**changes)).encode(), DIMENSION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": []}, "at least one"),
        ({"schema_version": "2.0"}, "schema_version"),
        ({"task": "image-classification"}, "task"),
        ({"more": 1}, "unknown key 'more'"),
    ],
)
def test_broken_files_are_refused(change, message):
    with pytest.raises(IntegrityError, match=message):
        read_golden(json.dumps(document() | change).encode(), DIMENSION)


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data):
    with pytest.raises(IntegrityError):
        read_golden(data, DIMENSION)


@pytest.mark.parametrize("vector", [[np.nan, 1], [0, 0], [[1, 2]], [np.inf, 1]])
def test_vectors_that_prove_nothing_are_not_written(vector):
    with pytest.raises(InputError, match="case 0"):
        write_golden([("a", np.array(vector, np.float32))])


def test_text_that_cannot_be_written_is_refused():
    with pytest.raises(InputError, match="lone surrogate"):
        write_golden([("\ud800", np.ones(3, np.float32))])
