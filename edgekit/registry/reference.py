"""``oci://HOST/REPOSITORY:TAG``: where in which registry."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from edgekit.errors import UsageError

SCHEME: Final = "oci://"
DEFAULT_TAG: Final = "latest"

# The grammar of OCI's distribution specification 1.1, and host names as RFC 1123 has them.
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HINT: Final = "expected oci://HOST[:PORT]/REPOSITORY[:TAG] or …@sha256:DIGEST"


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a registry.

    Attributes:
        host: With the port, where one is given.
        repository: Its name there.
        tag: A name for one version, or empty where there is a digest.
        digest: ``sha256:…`` of a manifest, or empty.
    """

    host: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]``.

        Raises:
            UsageError: It is something else.
        """
        host, _, rest = text.removeprefix(SCHEME).partition("/")
        rest, _, digest = rest.partition("@")
        repository, colon, tag = rest.partition(":")
        if not text.startswith(SCHEME) or not _HOST.fullmatch(host):
            raise UsageError(f"{text!r}: names no registry", hint=_HINT)
        if len(repository) > 255 or not _REPOSITORY.fullmatch(repository):
            raise UsageError(f"{text!r}: {repository!r} is no repository's name", hint=f"{_HINT}; in lower case")
        if (colon and not _TAG.fullmatch(tag)) or ("@" in text and not _DIGEST.fullmatch(digest)):
            raise UsageError(f"{text!r}: {digest or tag!r} is neither a tag nor a digest", hint=_HINT)
        return cls(host, repository, "" if digest else tag or DEFAULT_TAG, digest)

    @property
    def version(self) -> str:
        """What names the manifest in a request: the digest, or the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return f"{SCHEME}{self.host}/{self.repository}{'@' if self.digest else ':'}{self.version}"


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine and nothing else."""
    name = re.sub(r":[0-9]+$", "", host).strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
