"""Connections that break: what was sent or got before is gone on from, or given up with a typed error."""

import pytest

from edgekit.bundle.reading import Bundle
from edgekit.errors import RegistryError
from edgekit.registry.reference import Reference
from edgekit.registry.transfer import pull, push

from .faults import LARGE, LARGE_DIGEST, always, files_of, getting, once


def test_a_pull_goes_on_where_the_connection_broke(root, registry, place, pushed, tmp_path):
    registry.faults.append(once(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 100_000)))
    ranges = []
    registry.faults.append(
        lambda handler: ranges.append(handler.headers.get("Range")) if getting(LARGE_DIGEST)(handler) else None
    )
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)
    assert len(ranges) == 1
    assert 0 < int(ranges[0].removeprefix("bytes=").removesuffix("-")) <= 100_000


def test_a_pull_goes_on_where_an_earlier_run_was_stopped(root, registry, place, pushed, tmp_path):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 0)))
    with pytest.raises(RegistryError, match="the connection failed 5 times"):
        pull(place, tmp_path / "got")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".got.pull", "bundle"]
    registry.faults.clear()
    registry.requests.clear()
    part = tmp_path / f".got.pull/{LARGE_DIGEST.replace(':', '-')}.part"
    part.write_bytes(LARGE[:70_000])
    ranges = []
    note = lambda handler: ranges.append(handler.headers.get("Range")) if getting(LARGE_DIGEST)(handler) else None  # noqa: E731
    registry.faults.append(note)
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)
    listed = Bundle.open(root).manifest_sha256
    assert len(registry.asked("GET", listed)) == 1  # to read it; the copy of the earlier run is used
    assert ranges == ["bytes=70000-"]
    assert not (tmp_path / ".got.pull").exists()


def test_what_an_earlier_run_left_damaged_is_fetched_anew(root, registry, place, pushed, tmp_path):
    (tmp_path / ".got.pull").mkdir()
    name = LARGE_DIGEST.replace(":", "-")
    (tmp_path / ".got.pull" / f"{name}.part").write_bytes(b"x" * 70_000)
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)
    (tmp_path / ".again.pull").mkdir()
    (tmp_path / ".again.pull" / name).write_bytes(LARGE[:-1] + b"x")
    pull(place, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(root)


def test_a_registry_that_ignores_ranges_is_read_from_the_start(root, registry, place, pushed, tmp_path):
    registry.faults.append(once(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 100_000)))
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(200, LARGE)))
    pull(place, tmp_path / "got")
    assert files_of(tmp_path / "got") == files_of(root)


@pytest.mark.parametrize("body", [b"", LARGE[:1000]], ids=["empty", "short"])
def test_a_blob_that_ends_early_is_asked_for_again_and_given_up(registry, place, pushed, tmp_path, body):
    registry.faults.append(always(getting(LARGE_DIGEST), lambda handler: handler.answer(200, body)))
    with pytest.raises(RegistryError, match="failed 5 times"):
        pull(place, tmp_path / "got")


def test_a_wrong_range_is_refused(registry, place, pushed, tmp_path):
    registry.faults.append(once(getting(LARGE_DIGEST), lambda handler: handler.cut(LARGE, 100_000)))
    wrong = lambda handler: handler.answer(206, LARGE, Content_Range=f"bytes 0-{len(LARGE) - 1}/{len(LARGE)}")  # noqa: E731
    registry.faults.append(always(getting(LARGE_DIGEST), wrong))
    with pytest.raises(RegistryError, match="asked for byte"):
        pull(place, tmp_path / "got")


def test_no_registry_at_all_is_a_typed_error(tmp_path):
    with pytest.raises(RegistryError, match="failed 5 times"):
        pull(Reference.parse("oci://127.0.0.1:1/team/tiny:1"), tmp_path / "got")


def test_a_push_goes_on_where_the_connection_broke(root, registry, place, tmp_path):
    def hang_up(handler):
        handler.registry.uploads["upload-0"] += b""
        handler.close_connection = True
        handler.connection.close()

    registry.faults.append(once(lambda handler: handler.command == "PATCH" and len(handler.body) > 60_000, hang_up))
    registry.faults.append(once(lambda handler: handler.command == "PUT", hang_up))
    registry.faults.append(once(lambda handler: handler.command == "POST", hang_up))
    push(Bundle.open(root), place)
    assert registry.blobs[LARGE_DIGEST] == LARGE
    pull(place, tmp_path / "got")


def test_a_half_taken_piece_is_sent_on_from_there(root, registry, place):
    def half(handler):
        name = handler.path.split("?")[0].rsplit("/", 1)[1]
        handler.registry.uploads[name] += handler.body[:1000]
        handler.close_connection = True
        handler.connection.close()

    registry.faults.append(once(lambda handler: handler.command == "PATCH" and len(handler.body) > 60_000, half))
    push(Bundle.open(root), place)
    assert registry.blobs[LARGE_DIGEST] == LARGE
    assert len(registry.asked("GET", "uploads")) == 1
