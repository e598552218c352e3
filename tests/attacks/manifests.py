"""Bad manifests and bad paths: every way in which ``edgekit.json`` can be wrong, or right and hostile."""

import json
import re

from edgekit.spec.checksum import seal

TEXTS = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a string": b'"edgekit"',
    "noise": bytes(range(256)) * 16,
    "a mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "not UTF-8": b'{"name": "\xff"}',
    "cut": b'{"name": "ti',
    "comments": b'{"name": "tiny" /* no */}',
    "single quotes": b"{'name': 'tiny'}",
    "a trailing comma": b'{"name": "tiny",}',
    "deep lists": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 300_000,
    "deep and closed": b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "four MiB of blanks": b" " * (4 << 20),
    "more than four MiB": b" " * ((4 << 20) + 1),
    "a long number": b'{"release": ' + b"9" * 1_000_000 + b"}",
    "a long exponent": b'{"release": 1e' + b"9" * 1_000_000 + b"}",
    "many keys": b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b"}",
    "many keys, the last one twice": b"{"
    + b",".join(b'"%d":0' % number for number in range(300_000))
    + b',"299999":0}',
    "many brackets": b'{"a": [' + b"[]," * 1_000_000 + b"[]]}",
}
FIELDS = {
    "checksum": ["", "0" * 63, "G" * 64, 0, None],
    "schema_version": ["3.0", "0.9", "2", "2.0.0", "", "2.x", 2.0, None, "2.0\n", "99999.0"],
    "name": ["", "../x", "a/b", "a\0b", "x" * 129, "\u202e", 1, None, "a b"],
    "version": ["", "1/2", None, "é"],
    "release": [-1, 1.0, 1.5, True, "1", None, 2**64, 1e400],
    "task": ["", "no-such-task", "x" * 5000, None, 7, "\u0000"],
    "source": [None, [], {}, {"name": 1}],
    "generator": [None, [], {"edgekit": 1}],
    "requires": [None, {}, {"onnxruntime": ""}, {"onnxruntime": "not a range"}, {"onnxruntime": ">=99"}],
    "components": [None, {}, {"other": {"inputs": [], "outputs": []}}, {"model": None}],
    "settings": [None, [], {"unknown": {}}, {}],
    "golden": ["", "missing.json", "../golden.json", None],
    "targets": [None, {}, {"x": {}}],
    "variants": [None, [], [{}], "x"],
    "files": [None, [], [{}], {}, "x"],
}
PATHS = [
    "", ".", "..", "../x", "a/../b", "a/./b", "a//b", "/x", "/etc/passwd", "//x", "a/", "C:x", "C:\\x",
    "\\\\host\\share", "a\\b", "a\0b", "a\nb", "a\x7fb", "\u202eabc", "a\u200db", "e\u0301", "\ufeffa", "\ud800",
    "CON", "con.txt", "nul", "a/aux.onnx", "COM1", "lpt9.x", "com\u00b9", "conin$", "a.", "a ", "a /b", "a*b", "a?b",
    "a<b", "a|b", 'a"b', "a:b", "x" * 256, "/".join("x" * 8), "a/" * 8 + "x", "x/" * 300 + "x", "edgekit.json",
    "EDGEKIT.JSON", "Edgekit.json", "edgekit.json/x", "model.sig", "MODEL.SIG", "manifest.json", "MANIFEST.json",
    "golden", "golden/CASES.json", "Golden/x", "model/PLAIN/x", "\u212a", "ﬁ", "manifest.json/x",
]  # fmt: skip
ENTRIES = {
    "a negative size": {"size": -1},
    "a float as size": {"size": 1.0},
    "a huge size": {"size": 1 << 43},
    "a size beyond doubles": {"size": 10**400},
    "a size of text": {"size": "1"},
    "no size": {"size": None},
    "a short digest": {"sha256": "ab"},
    "a digest in capitals": {"sha256": "AB" * 32},
    "a digest that is a path": {"sha256": "../" * 21 + "x"},
    "a digest of zeros": {"sha256": "0" * 64},
    "another size": {"size": 1},
    "an unknown field": {"mode": 0o777},
    "a link": {"link": "/etc/passwd"},
}


def bad_manifests(good: bytes) -> dict[str, bytes]:
    """Manifests by name. Where a field is changed the checksum is right, so that the field is what is judged."""
    found = dict(TEXTS)
    for field, values in FIELDS.items():
        for number, value in enumerate(values):
            found[f"{field} {number}"] = changed(good, lambda made, f=field, v=value: made.__setitem__(f, v))
        found[f"{field} missing"] = changed(good, lambda made, f=field: made.pop(f))
    for name, change in ENTRIES.items():
        found[f"a file with {name}"] = changed(good, lambda made, c=change: made["files"][2].update(c))
    for path in PATHS:
        found[f"a file at {path[:40]!r}"] = changed(good, lambda made, p=path: made["files"][0].update(path=p))
        found[f"a file more at {path[:40]!r}"] = changed(good, lambda made, p=path: made["files"].append(entry(p)))
        for key in ("folder", "graphs"):
            value = {"model": path} if key == "graphs" else path
            found[f"{key} {path[:40]!r}"] = changed(
                good, lambda made, k=key, v=value: made["variants"][0].update({k: v})
            )
    found["too many files"] = changed(good, lambda made: made["files"].extend(entry(f"z/{n}") for n in range(4097)))
    found["a key twice"] = sealed(good.replace(b'"release": 1', b'"release": 1, "release": 2'))
    found["NaN"] = sealed(good.replace(b'"release": 1', b'"release": NaN'))
    found["an infinity"] = sealed(good.replace(b'"release": 1', b'"release": -Infinity'))
    found["an unknown field"] = changed(good, lambda made: made.update(extra=1))
    found["an edit"] = good.replace(b'"release": 1', b'"release": 2')
    found["something behind"] = good + b"x"
    found["itself behind"] = good + good
    return found


def entry(path):
    return {"path": path, "size": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}


def changed(good: bytes, change) -> bytes:
    made = json.loads(good)
    change(made)
    return sealed(json.dumps(made).encode())


def sealed(data: bytes) -> bytes:
    return seal(data, "edgekit.json") if re.search(rb'"checksum": *"[0-9a-f]{64}"', data) else data
