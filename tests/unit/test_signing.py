"""A bundle's signature is OpenSSF Model Signing's, good in both directions, and nothing but a good one passes."""

import base64
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from edgekit.bundle.packing import pack, unpack
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signature import pre_authentication_encoding, statement, verify_signature
from edgekit.bundle.signing import attach, private_key, sign
from edgekit.bundle.trust import Trust, fingerprint_of, public_key, trusted_keys
from edgekit.bundle.writing import write_manifests
from edgekit.errors import HostError, InputError, IntegrityError, OutputError, UsageError

from .tiny_bundle import CONTENT, fill, tiny_manifest, write_tiny_bundle

VECTORS = Path(__file__).with_name("oms")
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def pem(key, password=None):
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def trust(key, tmp_path):
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "release.pub").write_bytes(public_pem(key))
    return Trust.of(tmp_path / "trust")


@pytest.fixture
def root(tmp_path):
    write_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def signed(root, key):
    bundle = Bundle.open(root)
    return attach(bundle, sign(bundle, key))


def test_a_signed_bundle_passes_and_says_whose_it_is(signed, trust, key):
    standing = trust.require(signed)
    assert (standing.state, standing.key) == ("signed", "release.pub")
    assert standing.fingerprint == fingerprint_of(key.public_key())
    signed.verify()


def test_a_signature_travels_through_packing(signed, trust, tmp_path):
    packed = Bundle.open(pack(signed, tmp_path / "packed"))
    assert trust.require(packed).state == "signed"
    assert trust.require(unpack(packed, tmp_path / "unpacked")).state == "signed"


def test_a_packed_file_is_signed_in_place(root, trust, key, tmp_path):
    bundle = Bundle.open(pack(Bundle.open(root), tmp_path / "packed"))
    again = attach(bundle, sign(bundle, key))
    again.verify()
    assert trust.require(again).state == "signed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "packed", "trust"]


def test_the_same_key_signs_the_same_bytes(root, key):
    assert sign(Bundle.open(root), key) == sign(Bundle.open(root), key)


@pytest.mark.parametrize("curve", CURVES)
def test_model_signing_accepts_what_edgekit_signs(root, curve, tmp_path):
    verifying = pytest.importorskip("model_signing.verifying", reason="needs the package model-signing")
    key = ec.generate_private_key(CURVES[curve])
    (tmp_path / "key.pub").write_bytes(public_pem(key))
    attach(Bundle.open(root), sign(Bundle.open(root), key))
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "key.pub")
    verifier.verify(root, root / "model.sig")
    (root / "model/safe/model.onnx").write_bytes(b"SAFE graph")
    with pytest.raises(ValueError, match="Signature mismatch"):
        verifier.verify(root, root / "model.sig")


@pytest.mark.parametrize("curve", CURVES)
def test_edgekit_accepts_what_model_signing_signs(root, curve, tmp_path):
    signing = pytest.importorskip("model_signing.signing", reason="needs the package model-signing")
    from model_signing import hashing

    key = ec.generate_private_key(CURVES[curve])
    (tmp_path / "key.pem").write_bytes(pem(key))
    signer = signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key.pem")
    signer.set_hashing_config(hashing.Config().set_ignored_paths(paths=[root / "model.sig"]))
    signer.sign(root, root / "model.sig")
    keys = [public_key(public_pem(key), "key.pub")]
    assert Trust(keys, asked=True).require(Bundle.open(root)).state == "signed"


@pytest.mark.parametrize("name", ["v0.3.1", "v1.0.0", "v1.0.1"])
def test_signatures_of_released_signers_are_good(name):
    keys = trusted_keys(VECTORS)
    found = verify_signature((VECTORS / f"{name}-elliptic-key.sig").read_bytes(), keys)
    assert found.key.name == "signing-key-pub.pem"
    expected = "bc9a717db6064a32cbe9eae6fc40651dd6d36ef1757183f590eff2b1765d7ebc"
    assert found.digests["signme-1" if name == "v1.0.1" else "."] == expected


@pytest.mark.parametrize("file", ["v1.1.0-elliptic-key.sig", "spec-valid-key.json"])
def test_good_signatures_that_leave_files_out_are_refused(file):
    with pytest.raises(IntegrityError, match="ignore_paths: leaves out 'ignore-me'"):
        verify_signature((VECTORS / file).read_bytes(), trusted_keys(VECTORS))


@pytest.mark.parametrize(
    ("file", "about"),
    [
        ("spec-invalid-empty.json", "not JSON"),
        ("spec-invalid-missing-envelope.json", "missing key 'dsseEnvelope'"),
        ("spec-invalid-missing-tlog-entries.json", "not of the key method"),
        ("spec-invalid-missing-verification-material.json", "missing key 'verificationMaterial'"),
        ("spec-invalid-payload-wrong-predicate.json", "does not match what it signs"),
        ("spec-valid-certificate.json", "not of the key method"),
        ("spec-valid-sigstore.json", "not of the key method"),
        ("v1.1.0-certificate.sig", "not of the key method"),
        ("v1.1.0-sigstore.sig", "not of the key method"),
    ],
)
def test_bad_vectors_and_other_methods_are_refused(file, about):
    with pytest.raises(IntegrityError, match=about):
        verify_signature((VECTORS / file).read_bytes(), trusted_keys(VECTORS))


def test_every_flipped_byte_of_a_signature_is_refused(signed, trust):
    good = (signed.root / "model.sig").read_bytes()
    keys = trust.keys
    for position in range(len(good)):
        flipped = bytearray(good)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            verify_signature(bytes(flipped), keys)
    verify_signature(good, keys)


def test_a_bundle_without_a_signature_is_refused_unless_that_is_allowed(root, trust):
    with pytest.raises(IntegrityError, match=r"has no model\.sig"):
        trust.require(Bundle.open(root))
    allowing = dataclasses.replace(trust, allow_unsigned=True)
    assert allowing.require(Bundle.open(root)).state == "unsigned"
    assert Trust().require(Bundle.open(root)).state == "unchecked"


def test_allowing_unsigned_does_not_allow_a_bad_signature(root, trust):
    (root / "model.sig").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="mediaType"):
        dataclasses.replace(trust, allow_unsigned=True).require(Bundle.open(root))


def test_another_key_is_refused(root, trust):
    bundle = Bundle.open(root)
    attach(bundle, sign(bundle, ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(IntegrityError, match="not trusted here"):
        trust.require(Bundle.open(root))


def test_a_signature_that_names_a_trusted_key_but_is_of_another_is_refused(signed, trust, key):
    other = sign(signed, ec.generate_private_key(ec.SECP256R1()))
    document = json.loads(other)
    document["verificationMaterial"]["publicKey"]["hint"] = fingerprint_of(key.public_key())
    with pytest.raises(IntegrityError, match="does not match what it signs"):
        verify_signature(json.dumps(document).encode(), trust.keys)


def test_the_signature_of_another_bundle_is_refused(signed, trust, tmp_path):
    write_tiny_bundle(tmp_path / "other", {**CONTENT, "model/safe/model.onnx": b"SAFE graph"})
    shutil.copy(signed.root / "model.sig", tmp_path / "other")
    with pytest.raises(IntegrityError, match="is of another bundle"):
        trust.require(Bundle.open(tmp_path / "other"))


def test_a_resealed_bundle_needs_a_new_signature(signed, trust):
    (signed.root / "model.sig").rename(signed.root.parent / "kept")
    fill(signed.root, {"model/safe/model.onnx": b"SAFE graph"})
    write_manifests(signed.root, tiny_manifest())
    (signed.root.parent / "kept").rename(signed.root / "model.sig")
    bundle = Bundle.open(signed.root)
    bundle.verify()  # sound, but not what was signed
    with pytest.raises(IntegrityError, match=r"is of another bundle: it signs another edgekit\.json"):
        trust.require(bundle)


def test_an_older_release_is_refused_however_good_its_signature(signed, trust):
    assert trust.require(signed, min_release=7).state == "signed"
    with pytest.raises(IntegrityError, match="is release 7, older than 8"):
        trust.require(signed, min_release=8)
    with pytest.raises(IntegrityError, match="is release 7"):
        Trust().require(signed, min_release=8)


def forged(bundle, key, change):
    """A signature that is good by the key, over a statement that was changed."""
    digests = {entry.path: entry.sha256 for entry in bundle.manifest.files} | {"edgekit.json": bundle.manifest_sha256}
    document = json.loads(sign(bundle, key))
    said = statement(digests, "tiny")
    change(said)
    payload = json.dumps(said).encode()
    from cryptography.hazmat.primitives.hashes import SHA256

    signature = key.sign(pre_authentication_encoding(payload), ec.ECDSA(SHA256()))
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    document["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    return json.dumps(document).encode()


def _set(*path, value):
    def change(said):
        for name in path[:-1]:
            said = said[name]
        said[path[-1]] = value

    return change


PREDICATE = ("predicate", "serialization")
STATEMENTS = {
    "hidden ignore_paths": (_set(*PREDICATE, "ignore_paths", value=["model.sig", "model/safe"]), "leaves out"),
    "ignores everything": (_set(*PREDICATE, "ignore_paths", value=["."]), "leaves out"),
    "links": (_set(*PREDICATE, "allow_symlinks", value=True), "allow_symlinks"),
    "links as text": (_set(*PREDICATE, "allow_symlinks", value="false"), "allow_symlinks"),
    "shards": (_set(*PREDICATE, "method", value="shards"), "method"),
    "another hash": (_set(*PREDICATE, "hash_type", value="blake2b"), "hash_type"),
    "another hash of a file": (_set("predicate", "resources", 0, "algorithm", value="sha1"), "algorithm"),
    "unknown parameter": (_set(*PREDICATE, "ignore_unsigned_files", value=True), "unknown key"),
    "unknown predicate": (_set("predicateType", value="https://model_signing/Digests/v0.1"), "predicateType"),
    "unknown statement": (_set("_type", value="https://in-toto.io/Statement/v0.1"), "_type"),
    "no subject": (_set("subject", value=[]), "signs nothing"),
    "two subjects": (lambda said: said["subject"].append(said["subject"][0]), "more than 1"),
    "another root digest": (_set("subject", 0, "digest", "sha256", value="0" * 64), "digest over the digests"),
    "no files": (_set("predicate", "resources", value=[]), "signs nothing"),
    "a file twice": (lambda said: said["predicate"]["resources"].append(said["predicate"]["resources"][0]), "twice"),
    "a file less": (lambda said: _resources(said, said["predicate"]["resources"][1:]), "does not sign edgekit.json"),
    "a file more": (
        lambda said: _resources(said, [*said["predicate"]["resources"], _extra()]),
        "signs, and the bundle",
    ),
}


def _extra():
    return {"name": "zzz", "digest": "0" * 64, "algorithm": "sha256"}


def _resources(said, resources):
    from edgekit.bundle.signature import root_digest

    said["predicate"]["resources"] = resources
    said["subject"][0]["digest"]["sha256"] = root_digest(one["digest"] for one in resources)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_that_says_anything_else_is_refused(root, trust, key, name):
    change, about = STATEMENTS[name]
    (root / "model.sig").write_bytes(forged(Bundle.open(root), key, change))
    with pytest.raises(IntegrityError, match=about):
        trust.require(Bundle.open(root))


def test_what_the_forger_makes_is_good_where_nothing_is_changed(root, trust, key):
    (root / "model.sig").write_bytes(forged(Bundle.open(root), key, lambda said: None))
    assert trust.require(Bundle.open(root)).state == "signed"


ENVELOPES = {
    "no signature": (_set("dsseEnvelope", "signatures", value=[]), "found none"),
    "extra signatures": (lambda made: made["dsseEnvelope"]["signatures"].append({"sig": "AAAA"}), "more than 1"),
    "the signature twice": (lambda made: made["dsseEnvelope"].update(signatures=_twice(made)), "more than 1"),
    "another payload type": (_set("dsseEnvelope", "payloadType", value="text/plain"), "payloadType"),
    "another media type": (
        _set("mediaType", value="application/vnd.dev.sigstore.bundle+json;version=0.1"),
        "mediaType",
    ),
    "an unknown key": (_set("extra", value=1), "unknown key"),
    "a log entry": (_set("verificationMaterial", "tlogEntries", value=[{}]), "tlogEntries"),
    "a certificate beside": (_set("verificationMaterial", "certificate", value={}), "unknown key"),
    "a key id": (_set("dsseEnvelope", "signatures", 0, "keyid", value="release"), "keyid"),
    "an empty signature": (_set("dsseEnvelope", "signatures", 0, "sig", value=""), "does not match"),
    "a signature of letters": (_set("dsseEnvelope", "signatures", 0, "sig", value="!!"), "not base64"),
    "url-safe base64": (_set("dsseEnvelope", "payload", value="_-__"), "not base64"),
    "loose base64": (_set("dsseEnvelope", "payload", value="QR=="), "canonical"),
    "no hint": (_set("verificationMaterial", "publicKey", value={}), "rawBytes"),
    "no key": (_set("verificationMaterial", value={}), "key method"),
}


def _twice(made):
    return made["dsseEnvelope"]["signatures"] * 2


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_that_is_anything_else_is_refused(root, trust, key, name):
    change, about = ENVELOPES[name]
    made = json.loads(sign(Bundle.open(root), key))
    change(made)
    with pytest.raises(IntegrityError, match=about):
        verify_signature(json.dumps(made).encode(), trust.keys)


def test_a_damaged_bundle_is_not_signed(root, key):
    (root / "model/safe/model.onnx").write_bytes(b"SAFE graph")
    with pytest.raises(IntegrityError, match="sha256"):
        sign(Bundle.open(root), key)


def test_a_signature_is_replaced_only_when_asked(signed, key):
    with pytest.raises(OutputError, match="signed already"):
        attach(signed, sign(signed, key))
    attach(signed, sign(signed, key), replace=True)


def test_sizes_of_a_signature_are_bounded(root):
    for size in (0, (8 << 20) + 1):
        with (root / "model.sig").open("wb") as stream:
            stream.truncate(size)
        with pytest.raises(IntegrityError, match=r"model\.sig: has"):
            Bundle.open(root)


def test_a_linked_signature_is_refused(root, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"{}")
    (root / "model.sig").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is a link"):
        Bundle.open(root)


@pytest.mark.parametrize(
    ("content", "about"),
    [
        (b"", "is no public key"),
        (b"noise" * 100, "is no public key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "is a private key"),
        (public_pem(ec.generate_private_key(ec.SECP256K1())), "on secp256k1"),
        (public_pem(ed25519.Ed25519PrivateKey.generate()), "no key on an elliptic curve"),
        (public_pem(rsa.generate_private_key(65537, 2048)), "no key on an elliptic curve"),
    ],
)
def test_a_folder_of_keys_holds_nothing_else_under_their_suffixes(tmp_path, content, about):
    (tmp_path / "README").write_bytes(b"is not looked at")
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(UsageError, match=about):
        trusted_keys(tmp_path)


def test_a_folder_without_keys_trusts_nobody_and_says_so(tmp_path):
    with pytest.raises(UsageError, match="holds 0 public keys"):
        Trust.of(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        Trust.of(tmp_path / "none")


def test_private_keys_may_have_a_password(tmp_path, key):
    (tmp_path / "key.pem").write_bytes(pem(key, b"secret"))
    assert private_key(tmp_path / "key.pem", "secret").private_numbers() == key.private_numbers()
    for password in (None, "wrong"):
        with pytest.raises(InputError, match="needs another password"):
            private_key(tmp_path / "key.pem", password)
    with pytest.raises(InputError, match="cannot be read"):
        private_key(tmp_path / "none.pem")
    (tmp_path / "key.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256K1())))
    with pytest.raises(InputError, match="secp256k1"):
        private_key(tmp_path / "key.pem")


def test_without_cryptography_the_host_cannot_judge(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(HostError, match="need the package cryptography") as caught:
        Trust.of(tmp_path)
    assert "edgekit[sign]" in caught.value.hint
