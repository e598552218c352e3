"""Debian packages: unpacked without a tool, nothing outside the folder, nothing that is not needed."""

import io
import lzma
import tarfile  # noqa: TID251 - makes packages

import pytest

from edgekit.errors import HostError
from edgekit.portability.pins import pins
from edgekit.portability.sysroot import ar_members, unpack


def member(name, *, content=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode = len(content), kind, link, 0o755
    return info, io.BytesIO(content)


def package(path, *members, data_name="data.tar.xz"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, content)
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"abc"), (data_name, lzma.compress(data.getvalue()))]
    made = b"!<arch>\n"
    for name, content in parts:
        made += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        made += b"\n" * (len(content) % 2)
    path.write_bytes(made)
    return path


def test_libraries_and_python_are_unpacked_and_nothing_else(tmp_path):
    made = package(
        tmp_path / "a.deb",
        member("./usr/lib/aarch64-linux-gnu/libz.so.1.2", content=b"library"),
        member("./usr/lib/aarch64-linux-gnu/libz.so.1", kind=tarfile.SYMTYPE, link="libz.so.1.2"),
        member("./usr/bin/python3.11", content=b"python"),
        member("./usr/bin/other", content=b"other"),
        member("./etc/passwd", content=b"root"),
        member("./usr/lib/python3.11/sitecustomize.py", kind=tarfile.SYMTYPE, link="/etc/python3.11/sitecustomize.py"),
    )
    unpack(made, tmp_path / "root")
    files = {
        path.relative_to(tmp_path / "root").as_posix() for path in (tmp_path / "root").rglob("*") if not path.is_dir()
    }
    library = "usr/lib/aarch64-linux-gnu/libz.so.1"
    assert files == {f"{library}.2", library, "usr/bin/python3.11"}
    assert (tmp_path / "root" / library).read_bytes() == b"library"


@pytest.mark.parametrize(
    "bad",
    [
        member("./usr/lib/../../../escaped", content=b"x"),
        member("./usr/lib/link", kind=tarfile.SYMTYPE, link="../../../../etc"),
        member("./usr/lib/device", kind=tarfile.CHRTYPE),
        member("./usr/lib/hard", kind=tarfile.LNKTYPE, link="../../outside"),
    ],
)
def test_what_leads_out_of_the_folder_is_refused(bad, tmp_path):
    with pytest.raises(HostError, match=r"can be unpacked: .*(outside|special)"):
        unpack(package(tmp_path / "a.deb", bad), tmp_path / "root")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("data", [b"", b"no archive", b"!<arch>\n" + b"x" * 60, b"!<arch>\ncut"])
def test_what_is_no_package_is_refused(data, tmp_path):
    (tmp_path / "a.deb").write_bytes(data)
    with pytest.raises(HostError, match=r"a\.deb: is no Debian package"):
        unpack(tmp_path / "a.deb", tmp_path / "root")


def test_a_package_cut_at_any_byte_is_refused_or_has_all_its_members(tmp_path):
    whole = package(tmp_path / "a.deb", member("./usr/lib/a", content=b"a")).read_bytes()
    names = [name for name, _ in ar_members(whole)]
    assert names == ["debian-binary", "control.tar.xz", "data.tar.xz"]
    for length in range(9, len(whole) - 1):
        try:
            found = [name for name, _ in ar_members(whole[:length])]
        except ValueError:
            continue
        assert found == names[: len(found)]


def test_everything_is_pinned_by_digest():
    found = pins()
    assert len(found.packages) > 10
    assert all(len(package.sha256) == 64 and package.size for package in (*found.packages, found.web))
    assert all(len(digest) == 64 for digests in (found.onnxruntime | found.arm_wheels).values() for digest in digests)
    assert {requirement.partition("==")[0] for requirement in found.arm_wheels} == {
        "numpy",
        "onnxruntime",
        "tokenizers",
    }
    versions = [tuple(map(int, version.split("."))) for version in found.onnxruntime]
    assert versions == sorted(versions)
    assert versions[0] == (1, 24, 1)  # the oldest that reads a bundle's external data safely
