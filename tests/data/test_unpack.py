"""Unpacking valid, damaged and malicious archives."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from a2f.data.unpack import unpack
from a2f.errors import ArchiveError


def tar_of(*members: tuple[str, bytes | str], mode: str = "w:gz") -> bytes:
    """Make an archive: bytes are files, text is the target of a link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_of(*members: tuple[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK if isinstance(content, str) else stat.S_IFREG | 0o644) << 16
            file.writestr(info, content)
    return out.getvalue()


GOOD = (("set/HR/a.png", b"A" * 5000), ("set/LR/X4/ax4.png", b"B" * 50), ("set/HR/._a.png", b"mac"), ("rest.txt", b"r"))


@pytest.mark.parametrize("blob", [tar_of(*GOOD), tar_of(*GOOD, mode="w"), zip_of(*GOOD)], ids=["tar.gz", "tar", "zip"])
def test_only_wanted_files_are_unpacked(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "a").write_bytes(blob)
    wanted = {"set/HR": tmp_path / "out/HR", "set/LR/X4": tmp_path / "out/LR/X4", "rest.txt": tmp_path / "r/one.txt"}
    assert unpack(tmp_path / "a", wanted) == dict.fromkeys(wanted.values(), 1)
    made = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()}
    assert made == {"out/HR/a.png": b"A" * 5000, "out/LR/X4/ax4.png": b"B" * 50, "r/one.txt": b"r"}


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("../evil", b"x"), "leads out"),
        (("set/../../evil", b"x"), "leads out"),
        (("/tmp/evil", b"x"), "leads out"),
        (("set\\..\\..\\evil", b"x"), "leads out"),
        (("C:/evil", b"x"), "leads out"),
        (("set/link", "/etc/passwd"), "is a link"),
        (("set/link", "HR/a.png"), "is a link"),
    ],
)
def test_hostile_members(tmp_path: Path, make, bad: tuple[str, bytes | str], message: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(make(*GOOD, bad))
    with pytest.raises(ArchiveError, match=f"not safe: .*{message}"):
        unpack(tmp_path / "in/a", {"set": tmp_path / "in/out/set"})
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == ["in/a"]
    assert not (tmp_path / "in/out/set").exists()


@pytest.mark.parametrize("blob", [tar_of(*GOOD), tar_of(*GOOD, mode="w"), zip_of(*GOOD)], ids=["tar.gz", "tar", "zip"])
@pytest.mark.parametrize("share", [0, 0.02, 0.3])
def test_truncated_archives(tmp_path: Path, blob: bytes, share: float) -> None:
    (tmp_path / "a").write_bytes(blob[: int(share * len(blob))])
    with pytest.raises(ArchiveError, match=r"damaged|holds no"):
        unpack(tmp_path / "a", {"set": tmp_path / "set"})
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_flipped_bit_in_a_zip(tmp_path: Path) -> None:
    blob = bytearray(zip_of(*GOOD))
    blob[60] ^= 1
    (tmp_path / "a").write_bytes(blob)
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(tmp_path / "a", {"set": tmp_path / "set"})
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_files_of_a_killed_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tar_of(*GOOD))
    (tmp_path / ".set.unpacking/HR").mkdir(parents=True)
    (tmp_path / ".set.unpacking/HR/half.png").write_text("half")
    unpack(tmp_path / "a", {"set": tmp_path / "set"})
    assert {p.name for p in (tmp_path / "set/HR").iterdir()} == {"a.png"}
