"""What is fuzzed: the readers of bytes that come from anywhere. Each takes bytes and lets only typed refusals pass."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from edgekit.bundle.packed import member_header, padding
from edgekit.bundle.packing import pack
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signature import _read_statement, pre_authentication_encoding, verify_signature
from edgekit.bundle.trust import public_key
from edgekit.errors import HostError, IntegrityError, RecordError
from edgekit.runtime.external_data import external_tensors
from edgekit.runtime.golden import read_golden
from edgekit.spec.checksum import seal
from edgekit.spec.manifest import MANIFEST_NAME, Manifest
from edgekit.spec.reader import parse_json

TESTS = Path(__file__).parents[1] / "tests"
VECTORS = TESTS / "unit" / "oms"
RELEASED = TESTS / "released" / "tiny-2.0"
KEY = public_key((VECTORS / "signing-key-pub.pem").read_bytes(), "signing-key-pub.pem")

_scratch = tempfile.TemporaryDirectory(prefix="edgekit-fuzz-")
_FILE = Path(_scratch.name) / "packed.edgekit"


def manifest(data: bytes) -> None:
    """``edgekit.json``; sealed again, so that what is behind the checksum is reached. What is read is written alike."""
    try:
        sealed = seal(data, MANIFEST_NAME)
    except RecordError:
        sealed = data
    try:
        found = Manifest.from_json(sealed)
    except IntegrityError:
        return
    # Files may be listed in any order, and are written in one.
    assert Manifest.from_json(found.to_json()).to_json() == found.to_json()


def packed(data: bytes) -> None:
    """A packed file; and one whose first header is right, so that what is behind it is reached."""
    size = int.from_bytes(data[:2], "little")
    head, tail = data[2 : 2 + size], data[2 + size :]
    for content in (data, member_header(MANIFEST_NAME, len(head)) + head + padding(len(head)) + tail):
        _FILE.write_bytes(content)
        try:
            bundle = Bundle.open(_FILE)
            bundle.verify()
            bundle.signature_bytes()
        except IntegrityError:
            continue
        assert pack(bundle, _FILE.with_name("again"), replace=True).read_bytes() == content


def signature(data: bytes) -> None:
    """``model.sig``, and what a signature is over."""
    try:
        verify_signature(data, [KEY])
    except IntegrityError:
        pass
    try:
        _read_statement(parse_json(data, "payload"))
    except RecordError:
        pass
    assert pre_authentication_encoding(data).endswith(data)


def graph(data: bytes) -> None:
    """What an ONNX file says about other files."""
    try:
        external_tensors(data, {"model.onnx": len(data), "model.onnx.data": 2048})
    except (IntegrityError, HostError):
        pass


def golden(data: bytes) -> None:
    """Golden cases."""
    try:
        read_golden(data)
    except IntegrityError:
        pass


def seeds(name: str) -> list[bytes]:
    """Sound inputs to start from."""
    files = {
        "manifest": [
            RELEASED / "edgekit.json",
            TESTS / "unit/golden/edgekit.json",
            TESTS / "unit/golden/edgekit-1.0.json",
        ],
        "signature": sorted(VECTORS.glob("*.sig")) + sorted(VECTORS.glob("spec-*.json")),
        "graph": [RELEASED / "model/plain/model.onnx"],
        "golden": [RELEASED / "golden/cases.json"],
        "packed": [],
    }
    found = [file.read_bytes() for file in files[name]]
    if name == "packed":
        whole = pack(Bundle.open(RELEASED), _FILE, replace=True).read_bytes()
        listed = (RELEASED / MANIFEST_NAME).read_bytes()
        behind = whole[512 + len(listed) + len(padding(len(listed))) :]
        found += [whole, len(listed).to_bytes(2, "little") + listed + behind]
    if name == "signature":
        found += [json.dumps({"_type": "x", "predicateType": "x", "subject": [], "predicate": {}}).encode()]
    return found


TARGETS: dict[str, Callable[[bytes], None]] = {
    "manifest": manifest,
    "packed": packed,
    "signature": signature,
    "graph": graph,
    "golden": golden,
}
