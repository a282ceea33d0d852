"""Finds the publishers' files: in a folder, in an archive in that folder, or by a verified download."""

import gzip
import hashlib
import lzma
import os
import re
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import requests
import urllib3
from tqdm import tqdm

from dcdp_jax.errors import ConfigError, DataError

CHUNK = 1 << 20
TIMEOUT = 60.0
RESOURCE_FORK = re.compile(r"(^|/)(__MACOSX(/|$)|\._[^/]*/?$)")  # which macOS adds to the publisher's files
# What zipfile and tarfile raise on damaged or unsupported archives, beside their own errors.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    gzip.BadGzipFile,
)


class Source(NamedTuple):
    """The layout of a data set's files on disk, and the archive that they are downloaded in."""

    dataset: str  # name of the data set
    folder: str  # path of the folder that the publisher's archive unpacks to
    url: str  # address of the archive; it ends with the name of the file
    size: int  # of the archive in bytes; approximate where sha256 is None
    unpacked_limit: int  # most bytes that it may unpack to; more means a damaged or hostile archive
    sha256: str | None = None  # of the archive; None where that is not known and its content is the only check
    files: tuple[str, ...] = ()  # paths within the folder that must exist
    # glob pattern of paths within the folder, at least one of which must exist; '' where `files` names all.
    # Whether such a data set is complete is checked when it is read
    pattern: str = ""
    packed: bool = False  # whether zips within the archive stay packed, and are read as zips
    alternative: str = ""  # another archive of the folder, as one within the archive, that a raw_dir may hold instead

    @property
    def archive(self) -> str:
        """Name of the archive."""
        return PurePosixPath(self.url).name

    def size_text(self) -> str:
        """Returns the size of the archive for a message."""
        return f"{self.size:,} bytes" if self.sha256 else f"about {self.size / 1e6:.0f} MB"


def cache_folder(chosen: str = "") -> Path:
    """Returns the folder of downloads and prepared data: the chosen one, else `dcdp_jax` in the user's cache folder.

    Raises:
      ConfigError: no folder is chosen, and the user has no home folder.
    """
    if chosen:
        return Path(chosen).expanduser()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dcdp_jax"
    except RuntimeError as error:
        raise ConfigError(
            "there is no home folder to keep a cache in; name one with --config.data.cache_dir=FOLDER, or set HOME"
        ) from error


def raw_folder(source: Source, raw_dir: str, cache: Path) -> Path:
    """Returns the folder with the publisher's files; downloads and unpacks them first if need be.

    Args:
      source: the files to find.
      raw_dir: folder that is or holds the unpacked folder, or holds the archive; '' takes the variable DCDP_RAW_DIR,
        and where that is not set either, the archive is downloaded.
      cache: folder for downloads and unpacked archives.

    Raises:
      DataError: raw_dir does not hold the data set, an archive is damaged, or the download failed.
    """
    raw_dir = raw_dir or os.environ.get("DCDP_RAW_DIR", "")
    if not raw_dir:
        archive = download(source, cache / "downloads")
        try:
            return unpack(archive, source, cache)
        except DataError:
            if source.sha256 is None:  # without a digest the content was the only check, which has failed
                archive.unlink()
            raise
    root = Path(raw_dir).expanduser()
    if (folder := find_folder(root, source)) is not None:
        return folder
    names = [name for name in (source.archive, source.alternative) if name]
    for name in names:
        if (root / name).is_file():
            return unpack(root / name, source, cache)
    raise DataError(
        f"{root}: no {source.dataset} here; expected the folder {source.folder!r} or one of {', '.join(names)} "
        f"(from {source.url}, {source.size_text()})"
    )


def find_folder(root: Path, source: Source) -> Path | None:
    """Returns the folder with the data set at or below root, found by its path or the end of it; None if there is none.

    Raises:
      DataError: a folder holds some of source.files and not all.
    """
    parts = PurePosixPath(source.folder).parts
    for candidate in [root.joinpath(*parts[i:]) for i in range(len(parts) + 1)]:
        missing = [name for name in source.files if not (candidate / name).is_file()]
        matches = not source.pattern or next(candidate.glob(source.pattern), None) is not None
        if matches and not missing:
            return candidate
        if len(missing) < len(source.files) or (source.pattern and matches):
            raise DataError(
                f"{candidate}: {source.dataset} is incomplete, missing: {', '.join(missing) or source.pattern}"
            )
    return None


# pooch (1.9) would restart an interrupted download from the first byte.
def download(source: Source, folder: Path) -> Path:
    """Downloads an archive into a folder, resuming an interrupted download, and returns the path of the file.

    Raises:
      DataError: the server cannot be reached, or what it sent is not what was published.
    """
    path = folder / source.archive
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        fetch(source, part)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise DataError(
            f"{source.url} ({source.size_text()}) could not be downloaded ({type(error).__name__}); fetch it by "
            f"hand, put {path.name} or the folder {source.folder!r} that it unpacks to into a folder, and name "
            f"that in --config.data.raw_dir or the variable DCDP_RAW_DIR"
        ) from error
    if source.sha256:
        size, digest = part.stat().st_size, file_sha256(part)
        if (size, digest) != (source.size, source.sha256):
            part.unlink()
            raise DataError(
                f"{source.url}: {size:,} bytes with SHA-256 {digest} came, expected {source.size:,} bytes with "
                f"{source.sha256}; the download was removed"
            )
    os.replace(part, path)
    return path


def fetch(source: Source, part: Path) -> None:
    """Completes a partial file, with a progress bar. Retries after a lost connection if the attempt received bytes."""
    while True:
        have = part.stat().st_size if part.exists() else 0
        if source.sha256 and have >= source.size:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        # Without this, a server may compress an archive on the way, and the Range would count compressed bytes.
        headers["Accept-Encoding"] = "identity"
        try:
            with requests.get(source.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                span, status = response.headers.get("Content-Range", ""), response.status_code
                if status == requests.codes.requested_range_not_satisfiable and span == f"bytes */{have}":
                    return
                response.raise_for_status()
                resumed = status == requests.codes.partial_content and span.startswith(f"bytes {have}-")
                start = have if resumed else 0
                total = start + int(response.headers.get("Content-Length", 0)) or None
                with (
                    part.open("ab" if resumed else "wb") as file,
                    tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=source.archive) as bar,
                ):
                    # iter_content would lose what came since its last whole chunk when the connection is cut.
                    while chunk := response.raw.read1(CHUNK):
                        file.write(chunk)
                        bar.update(len(chunk))
            return
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError):
            if not part.exists() or part.stat().st_size <= have:
                raise


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, source: Source, cache: Path) -> Path:
    """Unpacks a zip or tar file, and the zips within it unless they stay packed, into the cache; returns the folder.

    The folder is written atomically. An archive that was unpacked before is not unpacked again.

    Raises:
      DataError: the archive is damaged or too large, has paths that leave it, or does not contain the data set.
    """
    target = cache / "unpacked" / f"{source.dataset}-{file_sha256(archive)[:16]}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
        try:
            left = extract(archive, temporary, source.unpacked_limit)
            for inner in () if source.packed else sorted(temporary.rglob("*.zip")):
                left = extract(inner, inner.parent, left)
                inner.unlink()
            if find_folder(temporary, source) is None:
                wanted = ", ".join(filter(None, [*source.files[:1], source.pattern]))
                raise DataError(f"{archive}: holds no {source.dataset}; expected {source.folder} with {wanted}")
            try:
                os.replace(temporary, target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    folder = find_folder(target, source)
    if folder is None:
        raise DataError(f"{target}: files are missing here; remove the folder, so that {archive} is unpacked again")
    return folder


def extract(archive: Path, folder: Path, limit: int) -> int:
    """Extracts all members but resource forks, at most `limit` bytes, and returns how many are left of the limit.

    Raises:
      DataError: the archive or a member is damaged, a path leaves the folder, a member is neither file nor folder, or
        there are more than limit bytes.
    """
    is_tar = archive.name.endswith((".tar", ".tar.gz", ".tgz"))
    try:
        return (extract_tar if is_tar else extract_zip)(archive, folder, limit)
    except DAMAGE as error:
        kind = "tar" if is_tar else "zip"
        raise DataError(f"{archive}: not a whole {kind} file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{archive}: cannot be unpacked into {folder} ({error})") from error


def extract_zip(archive: Path, folder: Path, limit: int) -> int:
    """Extracts a zip file, once all its members have been checked; see `extract`."""
    with zipfile.ZipFile(archive) as file:
        members = [member for member in file.infolist() if not RESOURCE_FORK.search(member.filename)]
        for member in members:
            limit = admit(archive, folder, member.filename, member.file_size, limit)
        file.extractall(folder, members)
    return limit


def extract_tar(archive: Path, folder: Path, limit: int) -> int:
    """Extracts a tar file in one pass; see `extract`."""
    with tarfile.open(archive, "r:*") as file:
        for member in file:
            if RESOURCE_FORK.search(member.name):
                continue
            if not (member.isreg() or member.isdir()):
                raise DataError(f"{archive}: member {member.name!r} is neither a file nor a folder")
            limit = admit(archive, folder, member.name, member.size, limit)
            file.extract(member, folder, filter="data")
        # The checksum of the compressed data follows the end of the tar archive, where tarfile stops reading.
        stream = file.fileobj
        while stream is not None and (chunk := stream.read(CHUNK)):
            limit = admit(archive, folder, "", len(chunk), limit)
    return limit


def admit(archive: Path, folder: Path, name: str, size: int, limit: int) -> int:
    """Raises DataError unless a member stays in the folder and within the limit; returns the rest of the limit."""
    if size > limit:
        raise DataError(f"{archive}: would unpack to more bytes than a whole data set has; member {name!r}")
    inside = (folder / name).resolve().is_relative_to(folder.resolve())
    if not inside or name.startswith(("/", "\\")):
        raise DataError(f"{archive}: member {name!r} would leave the folder")
    return limit - size
