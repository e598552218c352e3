"""Credentials are found where other tools keep them, used as the registry asks, and sent nowhere else."""

import base64
import json
import stat

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import InputError, RegistryError
from edgekit.registry.credentials import Credentials, find_credentials
from edgekit.registry.reference import Reference
from edgekit.registry.transfer import pull, push

from .faults import LARGE_DIGEST, always, files_of, getting
from .stand_in_registry import serve


def docker_config(tmp_path, document):
    (tmp_path / "home/.docker").mkdir(parents=True, exist_ok=True)
    (tmp_path / "home/.docker/config.json").write_text(json.dumps(document))


def auth(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("bearer", ["", "a-token"])
def test_credentials_of_docker_are_used(root, tmp_path, bearer):
    with serve(user="me", password="secret", bearer=bearer) as registry:  # noqa: S106
        place = Reference.parse(f"oci://{registry.host}/team/tiny:1")
        with pytest.raises(RegistryError, match="answers 401"):
            push(Bundle.open(root), place)
        docker_config(tmp_path, {"auths": {registry.host: auth("me", "secret")}})
        push(Bundle.open(root), place)
        pull(place, tmp_path / "got")
        kinds = {kind.split()[0] for _, path, kind in registry.requests if kind and "/token" not in path}
        assert kinds == ({"Bearer"} if bearer else {"Basic"})


def test_a_token_is_fetched_without_credentials_where_none_are_known(root, tmp_path):
    with serve(bearer="for-everybody") as registry:
        place = Reference.parse(f"oci://{registry.host}/team/tiny:1")
        push(Bundle.open(root), place)
        assert {given for _, path, given in registry.asked("GET", "/token")} == {None}


def test_an_identity_token_is_exchanged(root, tmp_path):
    with serve(user="me", password="identity", bearer="a-token") as registry:  # noqa: S106
        docker_config(tmp_path, {"auths": {registry.host: {"identitytoken": "identity"}}})
        push(Bundle.open(root), Reference.parse(f"oci://{registry.host}/team/tiny:1"))
        assert registry.asked("POST", "/token")


def test_credentials_are_not_sent_to_another_host(root, tmp_path):
    with serve() as storage, serve(user="me", password="secret") as registry:  # noqa: S106
        docker_config(tmp_path, {"auths": {registry.host: auth("me", "secret")}})
        place = Reference.parse(f"oci://{registry.host}/team/tiny:1")
        push(Bundle.open(root), place)
        storage.blobs.update(registry.blobs)
        registry.faults.append(
            lambda handler: (
                getting(LARGE_DIGEST)(handler)
                and handler.headers.get("Authorization")
                and (handler.answer(307, Location=f"http://{storage.host}{handler.path}") or True)
            )
        )
        pull(place, tmp_path / "got")
        assert files_of(tmp_path / "got") == files_of(root)
        assert len(storage.requests) == 1
        assert storage.requests[0][2] is None


def test_endless_redirects_are_refused(registry, place, pushed, tmp_path):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(307, Location=handler.path)))
    with pytest.raises(RegistryError, match="more than 5 times"):
        pull(place, tmp_path / "got")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"])
def test_redirects_to_what_is_no_http_are_refused(registry, place, pushed, tmp_path, target):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(307, Location=target)))
    with pytest.raises(RegistryError, match="redirects to an address"):
        pull(place, tmp_path / "got")


def test_a_token_is_not_asked_for_without_encryption_elsewhere(root, tmp_path):
    with serve(bearer="x", realm="file:///etc/passwd") as registry, pytest.raises(RegistryError, match="encryption"):
        push(Bundle.open(root), Reference.parse(f"oci://{registry.host}/team/tiny:1"))


def helper(folder, name, script):
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_credential_helpers_are_asked_in_their_protocol(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    helper(
        tmp_path / "bin", "good", 'read host; test "$1" = get; echo "{\\"Username\\":\\"$host\\",\\"Secret\\":\\"s\\"}"'
    )
    helper(
        tmp_path / "bin", "token", 'echo "{\\"ServerURL\\":\\"\\",\\"Username\\":\\"<token>\\",\\"Secret\\":\\"t\\"}"'
    )
    helper(tmp_path / "bin", "none", 'echo "credentials not found in native keychain"; exit 1')
    helper(tmp_path / "bin", "broken", "exit 3")
    helper(tmp_path / "bin", "noise", "echo noise")
    docker_config(tmp_path, {"credsStore": "token", "credHelpers": {"a.example": "good", "b.example": "none"}})
    assert find_credentials("a.example") == Credentials("a.example", "s")
    assert find_credentials("b.example") is None
    assert find_credentials("c.example") == Credentials(identity_token="t")  # noqa: S106
    for name in ("broken", "noise", "missing", "../bin/good"):
        docker_config(tmp_path, {"credsStore": name})
        with pytest.raises(InputError, match="credential helper"):
            find_credentials("c.example")


def test_credentials_are_found_where_other_tools_keep_them(tmp_path, monkeypatch):
    assert find_credentials("r.example") is None
    docker_config(tmp_path, {"auths": {"https://r.example": auth("docker", "1:2")}})
    assert find_credentials("r.example") == Credentials("docker", "1:2")
    (tmp_path / "run/containers").mkdir(parents=True)
    (tmp_path / "run/containers/auth.json").write_text(json.dumps({"auths": {"r.example": auth("podman", "2")}}))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert find_credentials("r.example").user == "podman"
    (tmp_path / "explicit.json").write_text(json.dumps({"auths": {"r.example": auth("explicit", "3")}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "explicit.json"))
    found = find_credentials("r.example")
    assert found.user == "explicit"
    assert "3" not in repr(found)
    (tmp_path / "explicit.json").write_text('{"auths": {"r.example": {"auth": "!!"}}}')
    with pytest.raises(InputError, match="not base64"):
        find_credentials("r.example")
    (tmp_path / "explicit.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        find_credentials("r.example")
