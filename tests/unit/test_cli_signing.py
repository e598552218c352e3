"""``edgekit sign`` signs and says with what; ``verify``, ``load`` and the variable hold bundles to trusted keys."""

import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgekit.bundle.packing import pack
from edgekit.bundle.reading import Bundle
from edgekit.cli import main
from edgekit.errors import IntegrityError
from edgekit.runtime import load, pipeline

from .tiny_model import write_tiny_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEKIT_TRUST", raising=False)
    write_tiny_model(tmp_path / "bundle")
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "me.pem").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return tmp_path


def answered(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out.startswith("{") else captured.out + captured.err


def test_sign_then_verify(here, capsys):
    code, made = answered(capsys, "sign", "bundle", "--key", "key.pem", "--json")
    assert (code, made["method"]) == (0, "key")
    assert main(["verify", "bundle", "--trust", "trust", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)["signature"]
    assert seen == {"state": "signed", "key": "me.pem", "fingerprint": made["by"]}
    assert answered(capsys, "verify", "bundle", "--trust", "trust")[1].splitlines()[1].split() == [
        "✓", "signature", "by", "me.pem,", "which", "is", "trusted",
    ]  # fmt: skip
    assert answered(capsys, "sign", "bundle", "--key", "key.pem")[0] == 3
    assert answered(capsys, "sign", "bundle", "--key", "key.pem", "--replace")[0] == 0


def test_an_unsigned_bundle_is_refused_where_trust_is_asked_for(here, capsys, monkeypatch):
    assert answered(capsys, "verify", "bundle", "--trust", "trust")[0] == 7
    monkeypatch.setenv("EDGEKIT_TRUST", "trust")
    assert answered(capsys, "verify", "bundle")[0] == 7
    assert answered(capsys, "run", "bundle", "word1")[0] == 7
    assert answered(capsys, "run", "bundle", "word1", "--allow-unsigned")[0] == 0
    code, result = answered(capsys, "verify", "bundle", "--allow-unsigned", "--json")
    assert (code, result["signature"]["state"]) == (0, "unsigned")


def test_without_trust_nothing_is_said_of_signatures(here, capsys):
    code, result = answered(capsys, "verify", "bundle", "--json")
    assert (code, result["signature"]["state"]) == (0, "unchecked")
    assert "signature" not in answered(capsys, "verify", "bundle")[1]


def test_an_old_release_is_refused(here, capsys):
    assert answered(capsys, "verify", "bundle", "--min-release", "1")[0] == 0
    code, text = answered(capsys, "verify", "bundle", "--min-release", "2")
    assert code == 7
    assert "release 1, older than 2" in text


def test_load_holds_to_the_policy_before_it_reads_a_model(here, monkeypatch):
    with pytest.raises(IntegrityError, match="has no model"):
        load("bundle", trust="trust")
    with load("bundle", trust="trust", allow_unsigned=True) as model:
        assert model.standing.state == "unsigned"
    main(["sign", "bundle", "--key", "key.pem"])
    pack(Bundle.open("bundle"), here / "packed")
    monkeypatch.setenv("EDGEKIT_TRUST", "trust")
    for path in ("bundle", "packed"):
        with load(path) as model:
            assert (model.standing.state, model.standing.key) == ("signed", "me.pem")
            assert model.self_test().passed
    with pipeline("feature-extraction", "bundle") as model:
        assert model.standing.state == "signed"
    monkeypatch.setattr("edgekit.runtime.loading.open_variant", lambda *_, **__: pytest.fail("the model was read"))
    (here / "bundle/model.sig").write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        load("bundle")


@pytest.mark.parametrize(
    "arguments", [[], ["--key", "key.pem", "--sigstore"], ["--key", "key.pem", "--password-env", "NO_SUCH"]]
)
def test_what_to_sign_with_must_be_clear(here, capsys, arguments):
    assert answered(capsys, "sign", "bundle", *arguments)[0] == 2


def test_a_certificate_signs_through_model_signing(here, capsys):
    verifying = pytest.importorskip("model_signing.verifying", reason="needs the package model-signing")
    write_certificates(here)
    code, made = answered(
        capsys, "sign", "bundle", "--key", "leaf.key", "--certificate", "leaf.pem", "--chain", "root.pem", "--json"
    )
    assert (code, made["method"], made["by"]) == (0, "certificate", "leaf.pem")
    verifier = verifying.Config().use_certificate_verifier(certificate_chain=[here / "root.pem"])
    verifier.verify(here / "bundle", here / "bundle/model.sig")
    code, text = answered(capsys, "verify", "bundle", "--trust", "trust")
    assert code == 7
    assert "not of the key method" in text


def write_certificates(folder):
    now = dt.datetime.now(dt.UTC)
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, leaf_name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("root", "leaf"))
    signing = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    issuing = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    for file, subject, key, usage in (
        ("root.pem", root_name, root_key, issuing),
        ("leaf.pem", leaf_name, leaf_key, signing),
    ):
        is_root = subject is root_name
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
            .add_extension(usage, critical=True)
        )
        if not is_root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        (folder / file).write_bytes(builder.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "leaf.key").write_bytes(leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
