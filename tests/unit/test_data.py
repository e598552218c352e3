"""Data files of the user's: what is read, what is set aside, and what is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError, EdgekitError
from edgekit.stages.data import read_texts

SENTENCES = [f"Sentence number {i}." for i in range(50)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\n".join(SENTENCES)),
        ("a.csv", "id,text\n" + "\n".join(f'{i},"{text}"' for i, text in enumerate(SENTENCES))),
        ("a.tsv", "text\tid\n" + "\n".join(f"{text}\t{i}" for i, text in enumerate(SENTENCES))),
        ("a.jsonl", "\n".join(f'{{"text": "{text}", "other": 1}}' for text in SENTENCES)),
        ("a.TXT", "\ufeff" + "\n\n".join(SENTENCES + SENTENCES[:5])),
    ],
)
def test_every_form_gives_the_same_texts(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    texts = read_texts(path)
    assert list(texts.calibration + texts.judged) == SENTENCES
    assert len(texts.calibration) == 10
    assert texts.name == name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"", "expected a .txt"),
        ("a.txt", b"", "holds no text"),
        ("a.txt", b"\xff\xfe", "not UTF-8 at byte 0"),
        ("a.csv", b"sentence\nx\n", "no column 'text'"),
        ("a.csv", b"", "no column 'text'"),
        ("a.csv", b"id,text\n1\n", "too few columns"),
        ("a.csv", b'text\n"x\n', "line"),
        ("a.jsonl", b'{"txet": "x"}\n', "missing key 'text'"),
        ("a.jsonl", b"nonsense\n", "line 1"),
        ("a.jsonl", b'{"text": 3}\n', "expected a string"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_texts(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        read_texts(tmp_path / "nowhere.txt")


@given(content=st.binary(max_size=200), suffix=st.sampled_from([".txt", ".csv", ".tsv", ".jsonl"]))
def test_no_content_raises_anything_untyped(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("data") / f"a{suffix}"
    path.write_bytes(content)
    try:
        assert read_texts(path).judged
    except EdgekitError as error:
        assert str(path) in error.message
