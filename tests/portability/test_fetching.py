"""Downloads: what differs from the pin is refused, what broke off is tried again, what is there is whole."""

import hashlib
import io
import threading

import pytest

from edgekit.errors import HostError
from edgekit.portability import fetching
from edgekit.portability.fetching import Pinned, fetch, made_whole, size_of

CONTENT = b"a package" * 1000
PINNED = Pinned("pool/a.deb", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
MIRRORS = ("https://one.example", "https://two.example")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0.0)


class Mirror:
    """Gives, address by address, what it is told to; keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, address):
        self.asked.append(address)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)


def test_a_fetched_file_is_the_pinned_one_and_is_fetched_once(tmp_path):
    mirror = Mirror(CONTENT)
    place = fetch(PINNED, MIRRORS, tmp_path, mirror)
    assert place.read_bytes() == CONTENT
    assert fetch(PINNED, MIRRORS, tmp_path, mirror) == place
    assert mirror.asked == ["https://one.example/pool/a.deb"]


@pytest.mark.parametrize("bad", [CONTENT[:-1], CONTENT + b"x", b"B" + CONTENT[1:], b"", OSError("reset")])
def test_the_next_mirror_is_asked_for_what_the_first_one_does_not_give(bad, tmp_path):
    mirror = Mirror(bad, CONTENT)
    assert fetch(PINNED, MIRRORS, tmp_path, mirror).read_bytes() == CONTENT
    assert mirror.asked == ["https://one.example/pool/a.deb", "https://two.example/pool/a.deb"]


def test_a_package_that_never_comes_whole_leaves_nothing_and_says_what_came(tmp_path):
    mirror = Mirror(*[CONTENT[:-1]] * 6)
    with pytest.raises(HostError, match=r"a\.deb cannot be fetched: .*8999 bytes") as caught:
        fetch(PINNED, MIRRORS, tmp_path, mirror)
    assert "try again" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_only_https_is_read(tmp_path):
    with pytest.raises(HostError, match="only https"):
        fetch(PINNED, ["http://one.example"], tmp_path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(IsADirectoryError):
        _write_over_a_folder(tmp_path / "made")
    assert list(tmp_path.iterdir()) == []
    with made_whole(tmp_path / "made") as filling:
        (filling / "a").write_text("a")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert size_of(tmp_path / "made") == 1
    with made_whole(tmp_path / "made") as filling:
        assert filling is None


def test_two_who_fill_one_folder_at_once_both_succeed(tmp_path):
    both = threading.Barrier(2)
    failed = []

    def fill():
        try:
            with made_whole(tmp_path / "made") as filling:
                both.wait(10)
                (filling / "a").write_text("a")
                both.wait(10)
        except (HostError, OSError) as error:
            failed.append(error)

    threads = [threading.Thread(target=fill) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def _write_over_a_folder(folder):
    with made_whole(folder) as filling:
        (filling / "a").mkdir()
        (filling / "a").write_text("a")
