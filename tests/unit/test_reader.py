"""parse_json takes RFC 8259's objects, refuses everything doubtful, and fails only with RecordError."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import HostError, RecordError
from edgekit.spec.reader import MAX_DEPTH, Table, parse_json, parse_toml

text = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


def parse(data):
    return parse_json(data, "record.json")


def raw(data, key):
    return parse(data).raw(key)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_record_errors(data):
    with pytest.raises(RecordError, match=r"record\.json"):
        parse(b"\x00" + data)  # never JSON, whatever follows
    with contextlib.suppress(RecordError):
        parse(data)


@given(st.text(alphabet='{}[]",:0123456789.eE+-\\utrfalsn \n', max_size=60))
def test_text_that_looks_like_json_raises_nothing_but_record_errors(document):
    try:
        expected = json.loads(document)
    except ValueError:
        with pytest.raises(RecordError):
            parse(document.encode())
        return
    try:
        table = parse(document.encode())
    except RecordError:
        return  # stricter than json: duplicates, top level, surrogates
    assert {key: table.raw(key) for key in table.names()} == expected


@given(st.dictionaries(text, values, max_size=5), st.booleans())
def test_accepts_what_json_dumps_writes(document, ascii_only):
    table = parse(json.dumps(document, ensure_ascii=ascii_only).encode())
    assert {key: table.raw(key) for key in table.names()} == document


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"{}\x00", "not JSON"),
        (b"[]", "expected an object, found a list"),
        (b"3", "expected an object, found 3"),
        (b"null", "expected an object, found null"),
        (b"\xef\xbb\xbf{}", "byte-order mark"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": 1, "a": 1}', "key 'a' appears twice"),
        (b'{"x": {"b": 1, "c": 2, "b": 3}}', "key 'b' appears twice"),
        (b'{"a": 1, "\\u0061": 2}', "key 'a' appears twice"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": 1e999}', "1e999 does not fit a double"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (b'{"\\uDFFF": 1}', "lone surrogate"),
        (b'{"a": ["x", "\\udc00\\ud800"]}', "lone surrogate"),
    ],
)
def test_refuses(data, problem):
    with pytest.raises(RecordError) as caught:
        parse(data)
    assert problem in caught.value.message
    assert caught.value.message.startswith("record.json: ")


def test_surrogate_pairs_are_characters():
    assert raw(b'{"a": "\\ud83d\\ude00"}', "a") == "\N{GRINNING FACE}"


def test_nesting_is_bounded_before_the_parser_recurses():
    depth = MAX_DEPTH - 1
    nested = raw(b'{"a": ' + b"[" * depth + b"]" * depth + b"}", "a")
    for _ in range(depth - 1):
        (nested,) = nested
    assert nested == []
    for opening in (b"[", b'{"a":'):
        with pytest.raises(RecordError, match="nested deeper than 32 levels"):
            parse(b'{"a": ' + opening * 200_000)


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 2 * MAX_DEPTH, 2 * MAX_DEPTH + 1, 10_000])
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"x": "[", "y":', b"}")])
def test_nesting_is_counted_to_the_level(depth, pair):
    opening, closing = pair
    record = b'{"z": [[[]], "]]}}", []], "a": ' + opening * (depth - 1) + b"0" + closing * (depth - 1) + b"}"
    if depth == MAX_DEPTH:
        assert "a" in parse(record)
    else:
        with pytest.raises(RecordError, match="nested deeper than 32 levels"):
            parse(record)


@pytest.mark.parametrize("broken", [b"[", b"}", b"[" * 30, b'"\\', b'"' + b'\\"' * 5000, b"[]" * 20])
def test_what_does_not_match_is_no_json(broken):
    with pytest.raises(RecordError, match="not JSON"):
        parse(b'{"a": ' + broken)


@pytest.mark.parametrize("filling", [b" ", b"[],", b"{", b"}", b'\\"', b'""', b'"\\', b"[" * 31 + b"]" * 31])
def test_hostile_megabytes_are_refused_quickly(filling):
    began = time.process_time()
    with pytest.raises(RecordError):
        parse(b'{"a": ' + filling * ((4 << 20) // len(filling)))
    assert time.process_time() - began < 2


@pytest.mark.parametrize("twice", ["0", "299999"])
def test_a_key_that_is_there_twice_among_many_is_found_quickly(twice):
    began = time.process_time()
    with pytest.raises(RecordError, match=f"key '{twice}' appears twice"):
        parse(b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b',"%s":0}' % twice.encode())
    assert time.process_time() - began < 5


def test_a_missing_key_among_many_others_is_found_quickly():
    table = parse(b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b"}")
    began = time.process_time()
    with pytest.raises(RecordError, match="missing key 'name'"):
        table.string("name")
    assert time.process_time() - began < 2


def test_values_are_counted_before_the_parser_makes_objects_of_them():
    assert parse(b'{"a": [' + b"[]," * 1000 + b'"' + b"," * (2 << 20) + b'"]}').names() == ("a",)
    with pytest.raises(RecordError, match="over the limit of 1048576 values"):
        parse(b'{"a": [' + b"[]," * ((1 << 20) + 1) + b"[]]}")
    with pytest.raises(RecordError, match="over the limit of 2 values"):
        parse_json(b'{"a": [1, 2, 3, 4]}', "record.json", max_values=2)


def test_messages_of_long_keys_are_short():
    with pytest.raises(RecordError, match="unknown key") as unknown:
        parse(b'{"%s": 1}' % (b"k" * 1_000_000)).done()
    with pytest.raises(RecordError, match="appears twice") as twice:
        parse(b'{"%s": 1, "%s": 2}' % ((b"k" * 1_000_000,) * 2))
    assert max(len(unknown.value.message), len(twice.value.message)) < 200


def test_want_of_memory_is_not_the_documents_fault(monkeypatch):
    def no_memory(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr("edgekit.spec.reader.json.loads", no_memory)
    with pytest.raises(HostError, match=r"record\.json: there is no memory to read its 2 bytes"):
        parse(b"{}")


def test_brackets_in_strings_do_not_nest():
    assert raw(json.dumps({"a": '[{"\\' * 100}).encode(), "a") == '[{"\\' * 100


def test_size_limit_is_checked_first():
    assert parse_json(b'{"a": 1}', "record.json", max_bytes=8).raw("a") == 1
    with pytest.raises(RecordError, match="9 bytes is over the limit of 8"):
        parse_json(b'{"a": 1} ', "record.json", max_bytes=8)


@pytest.mark.parametrize(
    ("value", "read", "problem"),
    [
        (1, lambda table: table.string("k"), "expected a string, found 1"),
        ("x" * 5000, lambda table: table.string("k"), "longer than 4096"),
        ("\ud800", lambda table: table.string("k"), "lone surrogate"),
        ("b", lambda table: table.string("k", choices=("a",)), "'b' is not one of a"),
        (True, lambda table: table.integer("k"), "expected an integer"),
        (1.0, lambda table: table.integer("k"), "expected an integer"),
        (-1, lambda table: table.integer("k"), "-1 is outside"),
        (2**53 + 1, lambda table: table.integer("k"), "outside"),
        (True, lambda table: table.number("k"), "expected a finite number"),
        ("1", lambda table: table.number("k"), "expected a finite number"),
        (10**400, lambda table: table.number("k"), "expected a finite number"),
        (-(10**400), lambda table: table.number("k"), "expected a finite number"),
        (2, lambda table: table.number("k", maximum=1), "outside"),
        (0, lambda table: table.boolean("k"), "expected true or false"),
        ("ab", lambda table: table.strings("k"), "expected a list"),
        (["a", 1], lambda table: table.strings("k"), "expected a string, found 1"),
        (["a"] * 3, lambda table: table.strings("k", max_items=2), "more than 2 items"),
        ([1.5], lambda table: table.shape("k"), "expected dimensions"),
        ([-1], lambda table: table.shape("k"), "expected dimensions"),
        ([True], lambda table: table.shape("k"), "expected dimensions"),
        ([], lambda table: table.table("k"), "expected an object"),
        ([1], lambda table: list(table.tables("k")), "item 0: expected an object"),
        ({"a": 1}, lambda table: table.string_map("k"), "expected a string"),
        ({"a": 1}, lambda table: list(table.named_tables("k")), "expected an object"),
    ],
)
def test_typed_values_refuse_others_and_name_the_key(value, read, problem):
    with pytest.raises(RecordError) as caught:
        read(Table({"k": value}, "record.json"))
    assert problem in caught.value.message
    assert caught.value.message.startswith("record.json: k")


def test_missing_and_unknown_keys_name_the_nearest():
    table = Table({"verison": "1"}, "record.json")
    with pytest.raises(RecordError, match="missing key 'version'") as missing:
        table.string("version")
    assert missing.value.hint == "did you mean 'verison'?"
    with pytest.raises(RecordError, match="unknown key 'verison'") as unknown:
        table.done()
    assert unknown.value.hint == "did you mean 'version'?"


def test_toml_errors_are_record_errors():
    assert parse_toml("a = 1", "t.toml").integer("a") == 1
    with pytest.raises(RecordError, match=r"t\.toml: not TOML"):
        parse_toml("a = ", "t.toml")
