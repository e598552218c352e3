"""Bad packed files: everything that an archive can be beside what it must be."""

import bz2
import gzip
import io
import lzma
import random
import tarfile  # noqa: TID251 - to write what our reader must refuse
import zipfile
from pathlib import Path

from edgekit.bundle.packed import BLOCK, END, member_header, padding
from edgekit.bundle.packing import pack
from edgekit.bundle.reading import Bundle

KINDS = {
    "hard link": b"1",
    "symbolic link": b"2",
    "character device": b"3",
    "block device": b"4",
    "directory": b"5",
    "fifo": b"6",
    "contiguous": b"7",
    "old regular": b"\0",
    "global pax": b"g",
    "gnu long name": b"L",
    "gnu sparse": b"S",
    "unknown": b"Z",
}


def packed_bytes(folder, scratch) -> bytes:
    return pack(Bundle.open(folder), scratch / "good.edgekit", replace=True).read_bytes()


def contents(folder) -> dict[str, bytes]:
    """The members of a bundle in a packed file's order."""
    listed = sorted(entry.path for entry in Bundle.open(folder).manifest.files)
    return {path: (Path(folder) / path).read_bytes() for path in ("edgekit.json", *listed)}


def joined(parts) -> bytes:
    """A packed file of (path, content) pairs, whatever they are."""
    return b"".join(member(path, data) for path, data in parts) + END


def member(path, data) -> bytes:
    return member_header(path, len(data)) + data + padding(len(data))


def with_field(block, start, value) -> bytes:
    """A header with a field changed and its checksum put right."""
    changed = bytearray(block)
    changed[start : start + len(value)] = value
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def bad_packed_files(folder, scratch) -> dict[str, bytes]:
    good = packed_bytes(folder, scratch)
    parts = contents(folder)
    return {
        **dict(_not_archives(good)),
        **dict(_cut(good)),
        **dict(_added(good, parts)),
        **dict(_arranged(parts)),
        **dict(_headers(good, parts)),
        **dict(_foreign(parts)),
    }


def _not_archives(good):
    noise = random.Random(0)  # noqa: S311
    yield "empty", b""
    yield "one byte", b"e"
    yield "zeros", bytes(10240)
    yield "noise", noise.randbytes(65536)
    yield "text", b"edgekit.json\n" * 1000
    yield "gzip", gzip.compress(good)
    yield "bzip2", bz2.compress(good)
    yield "xz", lzma.compress(good)
    yield "executable", b"\x7fELF" + good[4:]
    yield "script", b"#!/bin/sh\n" + good
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("edgekit.json", b"{}")
    yield "zip", archive.getvalue()
    yield "zip behind", good + archive.getvalue()
    yield "zip before", archive.getvalue() + good


def _cut(good):
    for block in range(1, len(good) // BLOCK):
        yield f"cut at block {block}", good[: block * BLOCK]
    for position in (1, 100, BLOCK - 1, BLOCK + 1, len(good) - 1):
        yield f"cut at byte {position}", good[:position]


def _added(good, parts):
    yield "a zero behind", good + b"\0"
    yield "blocks behind", good + bytes(8192)
    yield "a member behind", good + joined(parts.items())
    yield "itself behind", good + good
    yield "a block before", bytes(BLOCK) + good
    yield "one block of end", good[:-BLOCK]
    yield "three blocks of end", good + bytes(BLOCK)


def _arranged(parts):
    (first, *rest) = parts.items()
    yield "manifest last", joined([*rest, first])
    yield "no manifest", joined(rest)
    yield "manifest alone", joined([first])
    yield "reversed", joined([first, *reversed(rest)])
    for place in range(len(rest)):
        yield f"without {rest[place][0]}", joined([first, *rest[:place], *rest[place + 1 :]])
        yield f"twice {rest[place][0]}", joined([first, *rest[: place + 1], *rest[place:]])
    yield "manifest twice", joined([first, first, *rest])
    yield "manifest twice, last", joined([first, *rest, first])
    for name in (
        "extra",
        "EDGEKIT.JSON",
        "../escaped",
        "/etc/escaped",
        "C:\\escaped",
        "a\\b",
        "nul",
        "e\u0301",
        "a//b",
    ):
        yield f"extra member {name!r}", joined([first, *rest, (name, b"content")])
    yield "extra empty member", joined([first, *rest, ("zzz", b"")])
    yield "many members", joined([first, *rest, *((f"zz{number:05}", b"") for number in range(9000))])
    yield "empty signature", joined([first, ("model.sig", b""), *rest])
    yield "two signatures", joined([first, ("model.sig", b"{}"), ("model.sig", b"{}"), *rest])
    yield "signature last", joined([first, *rest, ("model.sig", b"{}")])
    yield "signature first", joined([("model.sig", b"{}"), first, *rest])
    yield "signature too large", joined([first, ("model.sig", bytes((8 << 20) + 1)), *rest])


def _headers(good, parts):
    starts = _header_places(parts)
    for path, start in starts.items():
        for kind, flag in KINDS.items():
            yield f"{path} as {kind}", _patched(good, start, 156, flag)
        for name, (place, value) in FIELDS.items():
            yield f"{path} with {name}", _patched(good, start, place, value)
        yield f"{path} with a wrong checksum", good[: start + 148] + b"000000\0 " + good[start + 156 :]


FIELDS = {
    "another name": (0, b"other.json\0\0"),
    "a name with parent steps": (0, b"../../escaped\0"),
    "an absolute name": (0, b"/tmp/escaped\0"),
    "a name that is no UTF-8": (0, b"\xff\xfe"),
    "a name behind a NUL": (20, b"hidden"),
    "another mode": (100, b"0000755\0"),
    "an owner": (108, b"0001750\0"),
    "a time": (136, b"14000000000\0"),
    "size 0": (124, b"00000000000\0"),
    "size 1": (124, b"00000000001\0"),
    "the largest size": (124, b"77777777777\0"),
    "a size in spaces": (124, b"        123 "),
    "a size of letters": (124, b"abcdefghijk\0"),
    "a negative size": (124, b"-0000000001\0"),
    "a binary size": (124, b"\x80" + b"\xff" * 11),
    "a negative binary size": (124, b"\xff" * 12),
    "an empty size": (124, bytes(12)),
    "a link name": (157, b"/etc/passwd"),
    "the GNU magic": (257, b"ustar  \0"),
    "no magic": (257, bytes(8)),
    "an owner's name": (265, b"root"),
    "a prefix": (345, b"folder"),
    "bytes in its last twelve": (500, b"x"),
}


def _patched(good, start, place, value):
    return good[:start] + with_field(good[start : start + BLOCK], place, value) + good[start + BLOCK :]


def _header_places(parts):
    places, at = {}, 0
    for path, data in parts.items():
        places[path] = at
        at += len(member(path, data))
    return places


def _foreign(parts):
    """What other programs make of the same files: right in content, and still not this format."""
    for name, form in (("gnu", tarfile.GNU_FORMAT), ("ustar", tarfile.USTAR_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", format=form) as tar:
            for path, data in parts.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        yield f"made by tarfile as {name}", archive.getvalue()
    header = member_header("edgekit.json", len(parts["edgekit.json"]))
    record = b"30 path=another-name-here.txt\n"
    pax = with_field(with_field(header, 156, b"x"), 124, b"%011o\0" % len(record)) + record + padding(len(record))
    yield "a pax header before", pax + joined(parts.items())
    yield (
        "a pax header within",
        b"".join((pax if place == 1 else b"") + member(*part) for place, part in enumerate(parts.items())) + END,
    )
