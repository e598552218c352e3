"""Signatures and the store: judged before anything is staged, kept with the version, asked again by who loads it."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgekit.bundle.packing import pack
from edgekit.bundle.reading import Bundle
from edgekit.bundle.signing import attach, sign
from edgekit.bundle.store.store import Store
from edgekit.cli import main
from edgekit.errors import IntegrityError
from edgekit.runtime import installing, load, trying
from edgekit.runtime.model import SelfTest

from ..unit.tiny_model import write_tiny_model  # noqa: TID252
from .scenarios import seen


def trusted(folder, key, name="me.pem"):
    folder.mkdir()
    (folder / name).write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("EDGEKIT_TRUST", raising=False)
    monkeypatch.setattr(installing, "try_out", lambda *_, **__: SelfTest(3, 1.0, 0.99, True, 0.1))
    key = ec.generate_private_key(ec.SECP256R1())
    trusted(tmp_path / "trust", key)
    trusted(tmp_path / "others", ec.generate_private_key(ec.SECP256R1()))
    write_tiny_model(tmp_path / "plain")
    signed = write_tiny_model(tmp_path / "signed")
    attach(Bundle.open(signed), sign(Bundle.open(signed), key))
    return tmp_path


def test_an_unsigned_bundle_is_refused_before_anything_is_staged(here, capsys):
    assert main(["install", str(here / "plain"), "--trust", str(here / "trust")]) == 7
    assert main(["install", str(here / "signed"), "--trust", str(here / "others")]) == 7
    assert not (here / "store").exists()
    assert main(["install", str(here / "plain"), "--trust", str(here / "trust"), "--allow-unsigned"]) == 0
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["installed"][0]["trust"] == "unsigned"


def test_a_signature_is_kept_with_the_version_and_asked_for_by_who_loads_it(here):
    assert main(["install", str(here / "signed"), "--trust", str(here / "trust")]) == 0
    store = Store(here / "store")
    version = store.slot("tiny").versions[store.slot("tiny").active]
    assert version.trust == "signed by me.pem"
    with load("tiny", trust=here / "trust") as model:
        assert (model.standing.state, model.standing.key) == ("signed", "me.pem")
    with pytest.raises(IntegrityError):
        load("tiny", trust=here / "others")


def test_a_signature_that_comes_later_is_taken_into_the_store(here):
    assert main(["install", str(here / "plain")]) == 0
    with pytest.raises(IntegrityError):
        load("tiny", trust=here / "trust")
    assert main(["install", str(here / "signed"), "--trust", str(here / "trust")]) == 0
    load("tiny", trust=here / "trust").close()


def test_a_program_that_trusts_other_keys_does_not_fail_the_version_on_trial(here):
    assert main(["install", str(here / "plain"), "--defer"]) == 0
    with pytest.raises(Exception, match=r"model\.sig"):
        load("tiny", trust=here / "trust")
    assert seen(Store(here / "store"))[:4] == (0, 0, 1, 1)
    load("tiny").close()
    assert seen(Store(here / "store"))[:4] == (1, 0, 0, 0)


def test_a_packed_file_is_installed_as_the_folder_it_was(here):
    pack(Bundle.open(here / "signed"), here / "one.edgekit")
    assert main(["install", str(here / "one.edgekit"), "--trust", str(here / "trust")]) == 0
    store = Store(here / "store")
    folder = store.folder(store.slot("tiny").active)
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(here / "signed"): path.read_bytes() for path in (here / "signed").rglob("*") if path.is_file()
    }


def test_the_self_test_asks_for_no_other_signature_than_the_one_that_was_judged(here, monkeypatch):
    monkeypatch.setattr(installing, "try_out", trying.try_out)
    monkeypatch.setenv("EDGEKIT_TRUST", str(here / "others"))
    assert main(["verify", str(here / "signed")]) == 7
    assert main(["verify", str(here / "signed"), "--trust", str(here / "trust")]) == 0
    assert main(["install", str(here / "signed"), "--trust", str(here / "trust")]) == 0
    assert seen(Store(here / "store"))[:4] == (1, 0, 0, 0)
