"""Data whose calibration and judged rows are files of their own."""

import hashlib

import pytest

from edgekit.errors import DataError
from edgekit.stages.data import JUDGED_ROWS, read_apart


def write(folder, name, texts):
    path = folder / name
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts), encoding="utf-8")
    return path


def test_each_file_is_one_part_and_both_are_named_by_the_digest(tmp_path):
    calibration = write(tmp_path, "calibration.jsonl", ["a", "b", "b"])
    judged = write(tmp_path, "evaluation.jsonl", [f"judged {number}" for number in range(JUDGED_ROWS + 5)])
    found = read_apart(calibration, judged)
    assert [row["text"] for row in found.calibration] == ["a", "b"]
    assert len(found.judged) == JUDGED_ROWS
    assert found.judged[0] == {"text": "judged 0"}
    assert found.folder == tmp_path.resolve()
    assert found.name == f"{tmp_path.name}/evaluation.jsonl"
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (calibration, judged))
    assert found.sha256 == hashlib.sha256(" ".join(digests).encode()).hexdigest()


@pytest.mark.parametrize("missing", ["calibration.jsonl", "evaluation.jsonl"])
def test_a_part_that_is_missing_is_named(tmp_path, missing):
    paths = {name: write(tmp_path, name, ["a"]) for name in ("calibration.jsonl", "evaluation.jsonl")}
    paths[missing].unlink()
    with pytest.raises(DataError, match=missing):
        read_apart(*paths.values())
