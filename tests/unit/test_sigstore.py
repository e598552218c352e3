"""Signing with an identity, which sigstore does. No test asks it: its network is not there, and nobody logs in.

What a published signature of it is worth is judged offline, by ``model-signing`` as docs/signing.md says, with the
roots that sigstore's own client carries. That a bundle is handed over as it should be is seen with a key in its place.
"""

import base64
import json
import socket

import pytest

from edgekit.bundle.packing import pack
from edgekit.bundle.reading import Bundle
from edgekit.cli import main
from edgekit.errors import ExportError

from .test_cli_signing import answered, here  # noqa: F401 - a fixture
from .test_signing import VECTORS

WHO = {"identity": "stefanb@us.ibm.com", "oidc_issuer": "https://sigstore.verify.ibm.com/oauth2"}


@pytest.fixture
def signing():
    return pytest.importorskip("model_signing.signing", reason="needs the package model-signing")


@pytest.fixture
def published(tmp_path):
    """What model-signing 1.1.0 signed with an identity: two files, and one that the statement leaves out."""
    folder = tmp_path / "v1.1.0-sigstore"
    folder.mkdir()
    for name, content in (("signme-1", b"signme-1"), ("signme-2", b"signme-2"), ("ignore-me", b"")):
        (folder / name).write_bytes(content)
    (folder / "model.sig").write_bytes((VECTORS / "v1.1.0-sigstore.sig").read_bytes())
    return folder


def judge(folder, **who):
    verifying = pytest.importorskip("model_signing.verifying", reason="needs the package model-signing")
    trusted = VECTORS / "sigstore-trust.json"
    verifier = verifying.Config().use_sigstore_verifier(**{**WHO, **who}, trust_config=trusted)
    verifier.verify(folder, folder / "model.sig")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def unknown(host, *_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, f"no network for {host}")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):  # where sigstore keeps what it fetched
        monkeypatch.setenv(name, str(tmp_path / "home"))


def test_a_published_signature_by_an_identity_is_judged_without_network(published, offline):
    judge(published)


@pytest.mark.parametrize("who", [{"identity": "somebody@else.example"}, {"oidc_issuer": "https://accounts.example"}])
def test_another_identity_is_refused(published, offline, who):
    with pytest.raises(Exception, match=r"Certificate's (SANs|OIDCIssuer)"):
        judge(published, **who)


def test_another_file_is_refused(published, offline):
    (published / "signme-2").write_bytes(b"signme-3")
    with pytest.raises(ValueError, match="Hash mismatch for 'signme-2'"):
        judge(published)


def test_another_statement_is_refused(published, offline):
    document = json.loads((published / "model.sig").read_text())
    statement = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b"signme-2", b"signme-3")
    document["dsseEnvelope"]["payload"] = base64.b64encode(statement).decode()
    (published / "model.sig").write_text(json.dumps(document))
    (published / "signme-2").rename(published / "signme-3")
    with pytest.raises(Exception, match=r"(?i)signature|hash"):
        judge(published)


def test_the_bundle_is_what_an_identity_signs(here, capsys, monkeypatch, signing):  # noqa: F811
    asked = []

    def with_a_key(config, **how):
        asked.append(how)
        return config.use_elliptic_key_signer(private_key=here / "key.pem")

    monkeypatch.setattr(signing.Config, "use_sigstore_signer", with_a_key)
    code, made = answered(capsys, "sign", "bundle", "--sigstore", "--json")
    assert (code, made["method"], made["by"]) == (0, "sigstore", "identity")
    assert made["manifest_sha256"] == Bundle.open("bundle").manifest_sha256
    # In CI the job has an identity; otherwise somebody logs in.
    assert asked == [{"identity_token": None, "use_ambient_credentials": True}]
    assert answered(capsys, "verify", "bundle", "--trust", "trust")[0] == 0  # every file is signed, and nothing else
    assert answered(capsys, "sign", "bundle", "--sigstore")[0] == 3
    assert answered(capsys, "sign", "bundle", "--sigstore", "--replace")[0] == 0


def test_a_packed_file_is_signed_before_it_is_packed(here, capsys, monkeypatch, signing):  # noqa: F811
    monkeypatch.setattr(signing.Config, "use_sigstore_signer", lambda *_, **__: pytest.fail("nobody needs to log in"))
    pack(Bundle.open("bundle"), here / "packed")
    code, text = answered(capsys, "sign", "packed", "--sigstore")
    assert code == 2
    assert "sign the folder, then pack it" in text


def test_without_network_it_says_so(here, capsys, offline, signing):  # noqa: F811
    code, text = answered(capsys, "sign", "bundle", "--sigstore")
    assert code == ExportError.exit_code == 4
    assert text.startswith("error[export]: sigstore did not sign: ")
    assert "needs the network" in text
    assert "Traceback" not in text
    assert not (here / "bundle/model.sig").exists()


def test_a_log_in_that_fails_says_so(here, capsys, monkeypatch, signing):  # noqa: F811
    class Refusing:
        def sign(self, payload):
            raise ConnectionError("the login was refused")

    def refused(config, **_):
        config._signer = Refusing()
        return config

    monkeypatch.setattr(signing.Config, "use_sigstore_signer", refused)
    assert main(["sign", "bundle", "--sigstore", "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["message"]) == ("export", "sigstore did not sign: the login was refused")
    assert "--key" in error["hint"]
    assert not (here / "bundle/model.sig").exists()
