"""Where the publishers' files come from: a folder, an archive in that folder, or a verified download."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import requests
from tqdm import tqdm

from dcdp_jax.errors import DataError

CHUNK = 1 << 20


class Archive(NamedTuple):
    """A publisher's download.

    Attributes:
      url: where it is.
      name: file name to store it under.
      size: bytes.
      sha256: of the file.
      unpacked_limit: more bytes than this are not unpacked (a damaged or hostile archive).
    """

    url: str
    name: str
    size: int
    sha256: str
    unpacked_limit: int


class Source(NamedTuple):
    """What a data set's files look like on disk.

    Attributes:
      dataset: name of the data set.
      folder: the folder that the publisher's archive unpacks to.
      files: paths within it, by which it is recognised.
      archives: file names under which the archive is found in a raw_dir, the outermost first.
      download: the publisher's download.
    """

    dataset: str
    folder: str
    files: tuple[str, ...]
    archives: tuple[str, ...]
    download: Archive


def cache_folder(chosen: str = "") -> Path:
    """Where downloads and prepared data are kept: the folder chosen, else the user's cache folder."""
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "dcdp_jax"


def raw_folder(source: Source, raw_dir: str, cache: Path) -> Path:
    """The folder with the publisher's files, unpacked and downloaded first where need be.

    Args:
      source: what to look for.
      raw_dir: a folder that is, or holds, the unpacked folder or the archive; '' takes the variable DCDP_RAW_DIR,
        and downloads where that is not set either.
      cache: where downloads and unpacked archives go.

    Returns:
      A folder in which all of source.files exist.

    Raises:
      DataError: raw_dir does not hold the data set, an archive is damaged, or the download failed.
    """
    raw_dir = raw_dir or os.environ.get("DCDP_RAW_DIR", "")
    if not raw_dir:
        archive = download(source.download, cache / "downloads")
        return unpack(archive, source, cache)
    root = Path(raw_dir).expanduser()
    for candidate in (root / source.folder, root):
        present = [name for name in source.files if (candidate / name).is_file()]
        if len(present) == len(source.files):
            return candidate
        if present:
            missing = sorted(set(source.files) - set(present))
            raise DataError(f"{candidate}: {source.dataset} is incomplete, missing: {', '.join(missing)}")
    for name in source.archives:
        if (root / name).is_file():
            return unpack(root / name, source, cache)
    raise DataError(
        f"{root}: no {source.dataset} here; expected the folder {source.folder!r} or one of "
        f"{', '.join(source.archives)} (from {source.download.url})"
    )


def download(archive: Archive, folder: Path) -> Path:
    """Fetches an archive, resuming a download that was cut short, and verifies its size and SHA-256.

    Args:
      archive: what to fetch.
      folder: where to put it.

    Returns:
      The verified file.

    Raises:
      DataError: the server cannot be reached, or what came is not what was published.
    """
    path = folder / archive.name
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(path.suffix + ".part")
    have = part.stat().st_size if part.exists() else 0
    if have < archive.size:
        try:
            fetch(archive, part, have)
        except requests.RequestException as error:
            raise DataError(
                f"{archive.url} ({archive.size:,} bytes) could not be downloaded ({type(error).__name__}); "
                f"fetch it by hand, put it into a folder and name that in --config.data.raw_dir"
            ) from error
    size, digest = part.stat().st_size, file_sha256(part)
    if (size, digest) != (archive.size, archive.sha256):
        part.unlink()
        raise DataError(
            f"{archive.url}: {size:,} bytes with SHA-256 {digest} came, expected {archive.size:,} bytes with "
            f"{archive.sha256}; the download was removed"
        )
    os.replace(part, path)
    return path


def fetch(archive: Archive, part: Path, have: int) -> None:
    """Appends the bytes from `have` on to the partial file, with a progress bar."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(archive.url, headers=headers, stream=True, timeout=60) as response:
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=archive.size, initial=have if resumed else 0, unit="B", unit_scale=True, desc=archive.name) as bar,
        ):
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, source: Source, cache: Path) -> Path:
    """Unpacks a zip, and the zip within it, into the cache; whole or not at all.

    Args:
      archive: a zip file.
      source: what it must contain.
      cache: the folder to unpack into; an archive unpacked before is found again.

    Returns:
      The folder with source.files.

    Raises:
      DataError: the archive is damaged, too large, has paths that leave it, or does not contain the data set.
    """
    target = cache / "unpacked" / f"{source.dataset}-{file_sha256(archive)[:16]}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
        try:
            extract_zip(archive, temporary, source.download.unpacked_limit)
            for inner in sorted(temporary.rglob("*.zip")):
                extract_zip(inner, temporary, source.download.unpacked_limit)
                inner.unlink()
            check_files(temporary / source.folder, source.files, archive)
            os.replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target / source.folder


def check_files(folder: Path, files: Sequence[str], archive: Path) -> None:
    """Raises DataError unless all files are there."""
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{archive}: holds no {folder.name}/{missing[0]} ({len(missing)} of {len(files)} files missing)")


def extract_zip(archive: Path, folder: Path, limit: int) -> None:
    """Extracts all members but resource forks (`__MACOSX`) into a folder.

    Raises:
      DataError: not a zip file, a damaged member, a path that leaves the folder, or more than limit bytes.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [m for m in file.infolist() if not m.filename.startswith("__MACOSX/")]
            size = sum(member.file_size for member in members)
            if size > limit:
                raise DataError(f"{archive}: would unpack to {size:,} bytes, more than the {limit:,} expected at most")
            for member in members:
                inside = (folder / member.filename).resolve().is_relative_to(folder.resolve())
                if not inside or member.filename.startswith("/"):
                    raise DataError(f"{archive}: member {member.filename!r} would leave the folder")
            for member in members:
                file.extract(member, folder)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{archive}: not a whole zip file ({error}); fetch it again") from error
