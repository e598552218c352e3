"""What names a bundle in a registry, and which registries are asked without encryption."""

import pytest

from edgekit.errors import RegistryError, UsageError
from edgekit.registry.client import Client
from edgekit.registry.reference import Reference, is_loopback


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("oci://localhost:5000/tiny", ("localhost:5000", "tiny", "latest", "")),
        ("oci://r.example/a/b-c/d__e:v1.0", ("r.example", "a/b-c/d__e", "v1.0", "")),
        (f"oci://[::1]:5000/a@sha256:{'a' * 64}", ("[::1]:5000", "a", "", f"sha256:{'a' * 64}")),
        (f"oci://r.example/a:1@sha256:{'a' * 64}", ("r.example", "a", "", f"sha256:{'a' * 64}")),
    ],
)
def test_references_are_read(text, parts):
    found = Reference.parse(text)
    assert (found.host, found.repository, found.tag, found.digest) == parts
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "oci://", "oci://host", "oci:///a", "http://host/a", "oci://host/A", "oci://host/a//b", "oci://host/../a",
     "oci://host/a:", "oci://host/a:-x", "oci://host/a@sha256:zz", "oci://host/a@", "oci://user@host/a",
     "oci://ho st/a", "oci://host/a b",
     "oci://host/a?x=1", "oci://host/a#x", "oci://host:port/a", f"oci://host/{'a' * 256}", "oci://host/a\n"],
)  # fmt: skip
def test_what_is_no_reference_is_a_usage_error(text):
    with pytest.raises(UsageError):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True), ("127.9.9.9", True), ("[::1]:5000", True),
     ("localhost.example", False), ("127.0.0.1.example", False), ("10.0.0.1", False), ("registry.example:5000", False)],
)  # fmt: skip
def test_plain_http_is_for_this_machine_alone(host, expected):
    assert is_loopback(host) is expected


def test_other_machines_are_asked_with_encryption():
    reference = Reference.parse("oci://registry.example/a:1")
    with Client(reference) as client, Client(reference, plain_http=True) as plain:
        assert client._base == "https://registry.example/v2/a/"
        assert plain._base == "http://registry.example/v2/a/"
        with pytest.raises(RegistryError, match="without encryption"):
            client._checked("http://registry.example/x")
