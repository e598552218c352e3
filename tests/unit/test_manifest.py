"""edgekit.json: a round trip, its golden bytes, and every way it can be wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import IntegrityError
from edgekit.spec.checksum import seal
from edgekit.spec.manifest import MAX_MANIFEST_BYTES, SECTIONS, Manifest, section_class

from .tiny_bundle import tiny_manifest

GOLDEN = Path(__file__).parent / "golden" / "edgekit.json"
EARLIER = Path(__file__).parent / "golden" / "edgekit-1.0.json"


def document():
    return json.loads(tiny_manifest().to_json())


def read(changed):
    return Manifest.from_json(seal(json.dumps(changed).encode(), "edgekit.json"))


def key_paths(value, path=()):
    """Every (path of keys) that leads to a value of a fixed field, through the first item of lists."""
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            yield from key_paths(value[0], (*path, 0))
        return
    for key, inner in value.items():
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from key_paths(inner, (*path, key))


FREE = {("generator", "edgekit"), ("generator", "onnx"), ("targets", "arm64-neon"), ("targets", "x86_64-avx2")}
FREE |= {("variants", 0, "session_options", "session.intra_op.allow_spinning"), ("variants", 0, "graphs", "model")}
FREE |= {("components", "model"), ("settings", "text"), ("settings", "embedding")}  # by name: each may be there
PATHS = [path for path in key_paths(document()) if path not in FREE]


def parent_of(changed, path):
    for step in path[:-1]:
        changed = changed[step]
    return changed


def test_the_golden_file_is_written_byte_for_byte():
    assert tiny_manifest().to_json() == GOLDEN.read_bytes()


def test_round_trip():
    assert Manifest.from_json(GOLDEN.read_bytes()) == tiny_manifest()


def test_a_manifest_of_the_earlier_schema_reads_the_same():
    assert Manifest.from_json(EARLIER.read_bytes()) == tiny_manifest()


@pytest.mark.parametrize("key", ["inputs", "text", "variants", "schema_version"])
def test_a_broken_manifest_of_the_earlier_schema_is_refused(key):
    changed = json.loads(EARLIER.read_bytes())
    del changed[key]
    with pytest.raises(IntegrityError, match=key):
        read(changed)


def test_any_json_layout_of_the_same_document_is_read():
    assert read(document()) == tiny_manifest()


def test_variants_keep_their_order():
    changed = document()
    changed["variants"].reverse()
    assert [variant.name for variant in read(changed).variants] == ["safe", "int8"]
    assert read(changed).variant("safe").graph_path("model") == "model/safe/model.onnx"
    with pytest.raises(KeyError):
        read(changed).variant("none")


def test_the_paths_below_cover_the_document():
    assert {path[0] for path in PATHS} == set(document())
    assert len(PATHS) > 60


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_missing_field_is_refused_by_name(path):
    changed = document()
    del parent_of(changed, path)[path[-1]]
    with pytest.raises(IntegrityError) as caught:
        Manifest.from_json(json.dumps(changed).encode())
    assert f"missing key {path[-1]!r}" in caught.value.message


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_field_of_another_type_is_refused_by_name(path):
    # null is no field's type; the second value is of another type than the first kind of value.
    for wrong in (None, 1.5 if path[-1] != "self_test_min" else "1.5"):
        changed = document()
        parent_of(changed, path)[path[-1]] = wrong
        with pytest.raises(IntegrityError) as caught:
            Manifest.from_json(json.dumps(changed).encode())
        assert str(path[-1]) in caught.value.message
        assert "expected" in caught.value.message


@pytest.mark.parametrize(
    "path",
    [
        ("x",),
        ("source", "x"),
        ("settings", "text", "x"),
        ("settings", "x"),
        ("components", "model", "x"),
        ("variants", 0, "x"),
        ("files", 0, "x"),
    ],
)
def test_an_unknown_field_is_refused_in_a_known_version_and_skipped_in_a_newer_minor(path):
    changed = document()
    parent_of(changed, path)["x"] = 1
    with pytest.raises(IntegrityError, match="unknown key 'x'"):
        read(changed)
    changed["schema_version"] = "2.999"
    assert read(changed) == tiny_manifest()


@pytest.mark.parametrize("version", ["3.0", "0.9", "1", "1.0.0", "", "one", "-1.0", "1.00000"])
def test_another_major_version_is_refused(version):
    changed = document()
    changed["schema_version"] = version
    with pytest.raises(IntegrityError, match="schema_version"):
        read(changed)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("name",), "a/b", "'a/b' is not a name"),
        (("name",), "..", "'..' is not a name"),
        (("name",), "", "'' is not a name"),
        (("version",), "1 0", "'1 0' is not a name"),
        (("release",), -1, "release: -1 is outside"),
        (("golden",), "golden/none.json", "golden: names 'golden/none.json', which is not in files"),
        (("settings", "text", "tokenizer"), "x", "settings: names 'x', which is not in files"),
        (("variants", 0, "graphs"), {"model": "x"}, "variants: names 'model/int8/x', which is not in files"),
        (("variants", 0, "graphs"), {}, "int8: graphs: expected one for each component"),
        (("variants", 0, "folder"), "..", "variants: names '../model.onnx', which is not in files"),
        (("variants", 0, "targets"), ["y"], "int8 serves 'y', which is not in targets"),
        (("variants", 0, "name"), "safe", "two variants have one name"),
        (("variants", 0, "parity"), "maybe", "'maybe' is not one of pass, fail, unproven"),
        (("variants", 0, "self_test_min"), 1.01, "self_test_min: 1.01 is outside"),
        (("variants",), [], "variants: a bundle has at least one"),
        (("settings", "embedding", "pooling"), "sum", "pooling: 'sum' is not one of"),
        (("settings", "embedding", "output"), "x", "embedding: output 'x' is not in any component's outputs"),
        (("source", "weights_sha256"), "AB" * 32, "weights_sha256: expected 64 lower-case"),
        (("files", 0, "sha256"), "../" + "a" * 61, "sha256: expected 64 lower-case"),
        (("files", 0, "size"), -1, "size: -1 is outside"),
        (("files", 0, "size"), 1 << 43, "size: 8796093022208 is outside"),
        (("targets", "arm64-neon", "architecture"), "mips", "architecture: 'mips' is not one of"),
        (("targets", "arm64-neon", "cpu_features"), ["avx2"], "cpu_features: 'avx2' is no feature of arm64"),
    ],
)
def test_a_wrong_value_is_refused_by_name(path, value, problem):
    changed = document()
    parent_of(changed, path)[path[-1]] = value
    with pytest.raises(IntegrityError) as caught:
        read(changed)
    assert problem in caught.value.message


def test_too_many_files_are_refused():
    changed = document()
    changed["files"] *= 1025
    with pytest.raises(IntegrityError, match="files: more than 4096 items"):
        read(changed)


def test_a_huge_manifest_is_refused():
    with pytest.raises(IntegrityError, match="over the limit"):
        Manifest.from_json(b" " * (MAX_MANIFEST_BYTES + 1))


def test_every_flipped_bit_is_refused():
    data = GOLDEN.read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= (1, 0x20)[position % 2]  # another digit or letter; another case
        with pytest.raises(IntegrityError):
            Manifest.from_json(bytes(flipped))


@pytest.mark.parametrize("change", [b" ", b"\n", b"x"])
def test_bytes_after_the_end_are_refused(change):
    with pytest.raises(IntegrityError):
        Manifest.from_json(GOLDEN.read_bytes() + change)


@given(st.data())
def test_cut_or_scrambled_bytes_raise_nothing_but_integrity_errors(data):
    whole = GOLDEN.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start, len(whole)))
    damaged = whole[:start] + data.draw(st.binary(max_size=8)) + whole[stop:]
    if damaged != whole:
        with pytest.raises(IntegrityError):
            Manifest.from_json(damaged)


@pytest.mark.parametrize("key", SECTIONS)
def test_a_section_is_written_under_the_key_it_is_read_from(key):
    assert section_class(key).key == key
