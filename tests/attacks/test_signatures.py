"""No bad signature makes a bundle trusted; each ends in one typed error, in a folder and in a packed file."""

import json
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edgekit.bundle.packing import pack
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signing import sign

from ..unit.test_signing import ENVELOPES, STATEMENTS, forged, public_pem  # noqa: TID252 - no installed package
from ..unit.tiny_model import write_tiny_model  # noqa: TID252
from .sandbox import hold, outcomes

RAW = {
    "a byte": b"{",
    "nothing": b"{}",
    "null": b"null",
    "noise": bytes(range(256)) * 64,
    "a mark": b"\xef\xbb\xbf{}",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "a key twice": b'{"mediaType":"a","mediaType":"b"}',
    "large": b" " * (8 << 20),
    "a large string": b'{"mediaType":"' + b"a" * ((8 << 20) - 20) + b'"}',
    "a large number": b'{"mediaType":' + b"9" * 1_000_000 + b"}",
    "too large": b" " * ((8 << 20) + 1),
    "NaN": b'{"mediaType": NaN}',
    "a surrogate": b'{"mediaType": "\\ud800"}',
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("signatures")
    key = ec.generate_private_key(ec.SECP256R1())
    (scratch / "trust").mkdir()
    (scratch / "trust" / "key.pem").write_bytes(public_pem(key))
    root = write_tiny_model(scratch / "bundle")
    return scratch, root, Bundle.open(root), key


def signatures(bundle, key):
    yield from RAW.items()
    for name, (change, _) in STATEMENTS.items():
        yield name, forged(bundle, key, change)
    good = sign(bundle, key)
    for name, (change, _) in ENVELOPES.items():
        document = json.loads(good)
        change(document)
        yield name, json.dumps(document).encode()
    yield "another key", sign(bundle, ec.generate_private_key(ec.SECP256R1()))
    yield "behind it", good + good
    yield "cut", good[: len(good) // 2]


def test_bad_signatures_are_refused(made, tmp_path):
    scratch, root, bundle, key = made
    paths = [root.parent / "unsigned"]
    shutil.copytree(root, paths[0])
    for number, (_, data) in enumerate(signatures(bundle, key)):
        folder = scratch / f"bad-{number}"
        shutil.copytree(root, folder)
        (folder / "model.sig").write_bytes(data)
        paths.append(folder)
        if number % 5 == 0:
            paths.append(pack(bundle, scratch / f"bad-{number}.edgekit", signature=data))
    hold(paths, tmp_path, EDGEKIT_TRUST=str(scratch / "trust"))


def test_the_good_one_is_taken(made, tmp_path):
    scratch, _, bundle, key = made
    packed = pack(bundle, scratch / "good.edgekit", signature=sign(bundle, key))
    (found,) = outcomes([packed], tmp_path, EDGEKIT_TRUST=str(scratch / "trust")).values()
    assert (found["verify"], found["load"], found["exit_code"]) == ("accepted", "accepted", 0)
