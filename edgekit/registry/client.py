"""A registry over HTTP: who is asked, with which credentials, and what an answer may be.

The requests of OCI's distribution specification 1.1 are in :mod:`edgekit.registry.blobs` and
:mod:`edgekit.registry.manifests`. Here is what all of them need: credentials go to the registry's own origin and to
nobody else, redirects are followed one by one, answers are bounded, and a failure is a typed error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urljoin

from edgekit.errors import RecordError, RegistryError, UsageError
from edgekit.registry.credentials import Credentials, find_credentials
from edgekit.registry.reference import Reference, is_loopback
from edgekit.spec.reader import parse_json

if TYPE_CHECKING:
    import httpx2

_CHALLENGE: Final = re.compile(r'([a-z_]+)="([^"]*)"')
MAX_REDIRECTS: Final = 5
MAX_TOKEN_BYTES: Final = 1 << 20
MAX_ERROR_BYTES: Final = 16384
CONNECT_SECONDS: Final = 20.0
IDLE_SECONDS: Final = 60.0


class Broken(Exception):  # noqa: N818 - no error yet: whoever transfers tries again first
    """The connection failed in the middle of something."""


class Client:
    """Requests to the repository of a reference; close it, or use it in a ``with`` block.

    Args:
        reference: Where.
        plain_http: Whether to talk without encryption; always so to this machine itself.
        push: Whether to ask for the right to write.
        credentials: Found where other tools keep them, where None.

    Raises:
        UsageError: The package ``httpx2`` is missing.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        plain_http: bool = False,
        push: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise UsageError("registries need the package httpx2", hint="pip install 'edgekit[oci]'") from error
        self.reference = reference
        self._plain = plain_http or is_loopback(reference.host)
        self._base = f"{'http' if self._plain else 'https'}://{reference.host}/v2/{reference.repository}/"
        self._actions = "pull,push" if push else "pull"
        self._credentials = credentials
        self._looked_up = credentials is not None
        self._authorization = ""
        self._http = httpx2.Client(
            timeout=httpx2.Timeout(IDLE_SECONDS, connect=CONNECT_SECONDS),
            # Bytes as they are: digests are over those, and nothing inflates.
            headers={"Accept-Encoding": "identity", "User-Agent": "edgekit"},
            follow_redirects=False,
            trust_env=not is_loopback(reference.host),
        )
        self._origin = httpx2.URL(self._base)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    @contextmanager
    def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Iterator[httpx2.Response]:
        """Send a request and give its answer, whose body is not read yet.

        Args:
            method: Of HTTP.
            path: Under the repository, or a whole address as a registry gave it.
            headers: Besides those that every request has.
            content: Its body.

        Raises:
            Broken: The connection failed; also inside the block.
            RegistryError: The registry sends elsewhere without end or without encryption, or refuses credentials.
        """
        import httpx2

        url = urljoin(self._base, path)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                response = self._send(method, url, headers or {}, content)
                if not response.has_redirect_location or (
                    method not in {"GET", "HEAD"} and response.status_code not in {307, 308}
                ):
                    break
                response.close()
                url = self._checked(urljoin(url, response.headers["Location"]))
            else:
                raise RegistryError(f"{self.reference.host}: redirects more than {MAX_REDIRECTS} times")
            try:
                yield response
            finally:
                response.close()
        except httpx2.InvalidURL as error:
            raise RegistryError(f"{self.reference.host}: sends to an address that is none: {error}") from error
        except httpx2.UnsupportedProtocol as error:
            raise RegistryError(f"{self.reference.host}: sends to an address that is no HTTP") from error
        except httpx2.TransportError as error:
            raise Broken(f"{type(error).__name__}: {error}") from error

    def _send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> httpx2.Response:
        response = self._send_once(method, url, headers, content)
        if response.status_code != 401 or not self._is_ours(url):
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        response.close()
        self._authorize(challenge)
        return self._send_once(method, url, headers, content)

    def _send_once(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> httpx2.Response:
        own = {"Authorization": self._authorization} if self._authorization and self._is_ours(url) else {}
        request = self._http.build_request(method, url, headers={**headers, **own}, content=content)
        return self._http.send(request, stream=True)

    def _is_ours(self, url: str) -> bool:
        other = self._http.build_request("GET", url).url
        return (other.scheme, other.host, other.port) == (self._origin.scheme, self._origin.host, self._origin.port)

    def _checked(self, url: str) -> str:
        if not url.startswith("https://") and not (self._plain and url.startswith("http://")):
            raise RegistryError(f"{self.reference.host}: redirects to an address without encryption")
        return url

    def _authorize(self, challenge: str) -> None:
        if not self._looked_up:
            self._credentials = find_credentials(self.reference.host)
            self._looked_up = True
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and self._credentials and self._credentials.user:
            pair = f"{self._credentials.user}:{self._credentials.password}"
            self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        elif kind.lower() == "bearer":
            self._authorization = "Bearer " + self._token(dict(_CHALLENGE.findall(rest)))

    def _token(self, asked: Mapping[str, str]) -> str:
        """A token for the repository; https://distribution.github.io/distribution/spec/auth/token/."""
        import httpx2

        realm = self._checked(asked.get("realm", ""))
        known = self._credentials or Credentials()
        fields = {
            "service": asked.get("service", ""),
            "scope": f"repository:{self.reference.repository}:{self._actions}",
        }
        if known.identity_token:
            form = fields | {
                "grant_type": "refresh_token",
                "client_id": "edgekit",
                "refresh_token": known.identity_token,
            }
            request = self._http.build_request("POST", realm, data=form)
        else:
            request = self._http.build_request("GET", realm, params=fields)
        basic = (known.user, known.password) if known.user and not known.identity_token else None
        try:
            response = self._http.send(request, auth=basic, stream=True)
            try:
                if response.status_code != 200:
                    raise self.refused(response, "a token")
                data = self.body(response, MAX_TOKEN_BYTES, "a token")
            finally:
                response.close()
        except httpx2.HTTPError as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        try:
            table = parse_json(data, f"{self.reference.host}: token", max_bytes=MAX_TOKEN_BYTES)
            return table.string("token" if "token" in table else "access_token", max_length=MAX_TOKEN_BYTES)
        except RecordError as error:
            raise RegistryError(error.message) from error

    def refused(self, response: httpx2.Response, what: str) -> RegistryError:
        """The error for an answer that is not the one asked for, with what the registry says about it."""
        data = b""
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > MAX_ERROR_BYTES:
                break
        return self.refusal(response.status_code, what, data[:MAX_ERROR_BYTES])

    def refusal(self, status: int, what: str, body: bytes = b"") -> RegistryError:
        """The error for a status."""
        if status in {401, 403}:
            hint = f"log in to {self.reference.host} with docker, podman or oras; their credentials are used"
        elif status == 404:
            hint = "check the repository's name and the tag"
        else:
            hint = "try again later, or ask whoever runs the registry"
        return RegistryError(f"{self.reference}: {what}: the registry answers {status}{_said(body)}", hint=hint)

    def body(self, response: httpx2.Response, limit: int, what: str) -> bytes:
        """The whole body of an answer, within a limit.

        Raises:
            RegistryError: It is longer.
        """
        data = b""
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > limit:
                raise RegistryError(f"{self.reference}: {what}: is over the limit of {limit} bytes")
        return data


def _said(body: bytes) -> str:
    """What a registry writes into the body of an error, as far as it is fit to be shown."""
    try:
        document: Any = list(parse_json(body, "error", max_bytes=MAX_ERROR_BYTES).tables("errors", max_items=16))
        words = [str(entry.raw("message") if "message" in entry else entry.raw("code")) for entry in document]
    except RecordError:
        return ""
    text = "".join(letter if letter.isprintable() else "?" for letter in "; ".join(words))[:200]
    return f" ({text})" if text else ""
