"""Data files of the user's: what is read, what is set aside, and what is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError, EdgekitError
from edgekit.stages.data import read_rows

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
    rows = read_rows(path)
    rows.require(["text"])
    assert [row["text"] for row in rows.calibration + rows.judged] == SENTENCES
    assert len(rows.calibration) == 10
    assert (rows.name, rows.folder) == (name, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"", "expected a .txt"),
        ("a.txt", b"", "holds no text"),
        ("a.txt", b"\xff\xfe", "not UTF-8 at byte 0"),
        ("a.csv", b"", "holds no text"),
        ("a.csv", b"text,label\nx,y,z\n", "too many columns"),
        ("a.csv", b"id,text\n1\n", "too few columns"),
        ("a.csv", b'text\n"x\n', "line"),
        ("a.jsonl", b"nonsense\n", "line 1"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "lone surrogate"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_a_missing_column_is_named_with_the_nearest(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"txet": "x"}\n{"txet": "y"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: no column 'text'; its columns are txet") as caught:
        read_rows(path).require(["text", "label"])
    assert "'txet'" in caught.value.hint


def test_what_is_no_string_stays_json_in_its_cell(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "labels": ["O", "B"], "score": 0.5}\n')
    assert read_rows(path).judged == ({"text": "x", "labels": '["O", "B"]', "score": "0.5"},)


def test_only_rows_of_text_alone_are_joined_to_long_ones(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(f'{{"text": "{text}"}}' for text in SENTENCES))
    assert read_rows(path).long()[0]["text"].startswith("Sentence number 10. Sentence number 11.")
    path.write_text("\n".join(f'{{"text": "{text}", "label": "a"}}' for text in SENTENCES))
    assert read_rows(path).long() == ()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        read_rows(tmp_path / "nowhere.txt")


@given(content=st.binary(max_size=200), suffix=st.sampled_from([".txt", ".csv", ".tsv", ".jsonl"]))
def test_no_content_raises_anything_untyped(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("data") / f"a{suffix}"
    path.write_bytes(content)
    try:
        assert read_rows(path).judged
    except EdgekitError as error:
        assert str(path) in error.message
