from pathlib import Path

import pytest

from edgekit.errors import DataError
from edgekit.stages.data import read_rows


def test_a_folder_is_a_row_a_file_with_its_folder_as_label(tmp_path):
    for label in ("cat", "dog"):
        for number in range(5):
            file = tmp_path / "sounds" / label / f"{number}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(f"{label}{number}".encode())
    (tmp_path / "sounds" / "notes.txt").write_text("no sound")
    found = read_rows(tmp_path / "sounds")
    rows = (*found.calibration, *found.judged)
    assert len(rows) == 10
    assert len(found.calibration) == 2
    assert {row["label"] for row in found.calibration} == {"cat", "dog"}
    assert not {row["audio"] for row in found.calibration} & {row["audio"] for row in found.judged}
    assert all(Path(row["audio"]).is_file() for row in rows)


def test_an_empty_folder_holds_no_data(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.wav"):
        read_rows(tmp_path)


def test_paths_of_sounds_are_found_beside_the_file_that_names_them(tmp_path):
    (tmp_path / "rows.csv").write_text("audio,label\na/1.wav,cat\n")
    assert read_rows(tmp_path / "rows.csv").judged[0]["audio"] == str(tmp_path.resolve() / "a/1.wav")
