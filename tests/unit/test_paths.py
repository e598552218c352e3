"""The rule for a bundle's paths: one and the same file on Linux, macOS and Windows."""

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle.paths import check_path, check_paths
from edgekit.errors import IntegrityError

GOOD = [
    "a",
    "manifest.json",
    "model/int8-dynamic+smooth/model.onnx",
    "shared_assets/sha256-" + "0" * 64 + "/tokenizer.json",
    ".hidden",
    "a b",
    " a",
    "a..b",
    "com",
    "console.txt",
    "com10",
    "xcon",
    "größe/文.json",
    "1/2/3/4/5/6/7/8",
    "x" * 255,
    "/".join(["x" * 127] * 4),
]
BAD = {
    "": "has the part ''",
    "/": "has the part ''",
    "/etc/passwd": "has the part ''",
    "//host/share": "has the part ''",
    "a//b": "has the part ''",
    "a/": "has the part ''",
    ".": "has the part '.'",
    "./a": "has the part '.'",
    "a/./b": "has the part '.'",
    "..": "has the part '..'",
    "../a": "has the part '..'",
    "a/../b": "has the part '..'",
    "a/..": "has the part '..'",
    "a\\b": r"holds '\\'",
    "..\\a": r"holds '\\'",
    "C:/a": "holds ':'",
    "C:a": "holds ':'",
    "a:stream": "holds ':'",
    "a*": "holds '*'",
    "a?": "holds '?'",
    'a"': "holds '\"'",
    "<a": "holds '<'",
    "a>": "holds '>'",
    "a|b": "holds '|'",
    "a\0b": "control",
    "a\nb": "control",
    "a\x7f": "control",
    "a\x85": "control",
    "a\u202egnp.exe": "control or format",
    "a\u200bb": "control or format",
    "a\ufeff": "control or format",
    "a\u2028b": "control or format",
    "a\ud800": "control or format",
    "con": "device",
    "CON": "device",
    "a/NUL": "device",
    "nul.txt": "device",
    "aux.tar.gz": "device",
    "prn/a": "device",
    "COM1": "device",
    "com9.onnx": "device",
    "lpt0": "device",
    "com\u00b9": "device",
    "con .txt": "device",
    "CONIN$": "device",
    "a.": "ends with a dot or space",
    "a /b": "ends with a dot or space",
    "...": "ends with a dot or space",
    " ": "ends with a dot or space",
    "u\u0308": "NFC",
    "\u212b": "NFC",
    "x" * 256: "part longer than 255",
    "ü" * 128: "part longer than 255",
    "/".join(["x" * 128] * 4): "longer than 512",
    "1/2/3/4/5/6/7/8/9": "deeper than 8",
}


@pytest.mark.parametrize("path", GOOD)
def test_accepts(path):
    check_path(path)
    check_paths([path])


@pytest.mark.parametrize("path", BAD, ids=ascii)
def test_refuses(path):
    with pytest.raises(IntegrityError) as caught:
        check_path(path)
    assert BAD[path] in caught.value.message
    with pytest.raises(IntegrityError):
        check_paths(["fine", path])


def test_messages_of_long_paths_are_short():
    with pytest.raises(IntegrityError) as caught:
        check_path("x" * 100_000)
    assert len(caught.value.message) < 700


part = st.text(st.characters(), min_size=1, max_size=6) | st.sampled_from(
    ["..", ".", "", "C:", "nul", "a", "é", "E\u0301"]
)


@given(st.lists(part, min_size=1, max_size=9), st.sampled_from(["/", "\\", "//"]))
def test_what_is_accepted_stays_inside_on_every_system(parts, separator):
    path = separator.join(parts)
    try:
        check_path(path)
    except IntegrityError:
        return
    windows = PureWindowsPath(path)
    posix = PurePosixPath(path)
    assert not posix.is_absolute()
    assert not windows.drive
    assert not windows.root
    assert windows.parts == posix.parts == tuple(path.split("/"))
    assert not {"..", "."} & set(posix.parts)
    assert unicodedata.normalize("NFC", path) == path
    assert path.encode().decode() == path
    check_paths([path])


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x2FFF), min_size=1, max_size=4))
def test_a_path_and_its_other_case_never_both_pass(name):
    for other in (name.lower(), name.casefold(), unicodedata.normalize("NFKC", name)):
        if other != name:
            with pytest.raises(IntegrityError):
                check_paths([f"{name}/a", f"{other}/a"])


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["a", "b", "a"], "path 'a': is listed twice"),
        (["Model.onnx", "model.onnx"], "differs from 'Model.onnx' only by case"),
        (["A/x", "a/y"], "path 'a': differs from 'A' only by case"),
        (["x/A/y", "x/a/z"], "path 'x/a': differs from 'x/A' only by case"),
        (["straße", "STRASSE"], "only by case or Unicode form"),
        (["\ufb01le", "file"], "only by case or Unicode form"),
        (["Σ", "ς"], "only by case or Unicode form"),
        (["a", "a/b"], "path 'a': is a file and, as 'a', also a folder"),
        (["a/b/c", "a/b"], "path 'a/b': is a file and, as 'a/b', also a folder"),
        (["a/b/c", "a/B"], "path 'a/B': is a file and, as 'a/b', also a folder"),
    ],
)
def test_paths_that_meet_on_some_system_are_refused(paths, problem):
    for order in (paths, paths[::-1]):
        with pytest.raises(IntegrityError):
            check_paths(order)
    with pytest.raises(IntegrityError) as caught:
        check_paths(paths)
    assert problem in caught.value.message


def test_neighbours_are_accepted():
    check_paths(["a/b", "a/c", "a.b", "ab", "a-/b", "b/a"])
