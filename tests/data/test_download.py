"""Folders, archives and downloads: what is found, what is refused, what is resumed."""

import hashlib
import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.download import Source, cache_folder, download, extract, file_sha256, raw_folder, unpack
from dcdp_jax.errors import DataError
from tests.data.datasets import small
from tests.data.servers import serving

RNG = np.random.default_rng(0)
FILES = {"Data Set/one.txt": b"1", "Data Set/two.txt": b"2" * 1000, "Data Set/more/x.dat": RNG.bytes(300_000)}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def make_source(body=b"", url="", name="set.zip", known=True, limit=1 << 20, **fields):
    digest = hashlib.sha256(body).hexdigest() if known else None
    return Source(
        dataset="test",
        folder=fields.pop("folder", "Data Set"),
        files=fields.pop("files", ("one.txt", "two.txt")),
        url=url or f"http://127.0.0.1:9/{name}",
        size=len(body),
        sha256=digest,
        unpacked_limit=limit,
        alternative="inner.zip",
        **fields,
    )


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("DCDP_RAW_DIR", raising=False)


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("inside", ["", "Data Set"])
def test_a_folder_that_is_or_holds_the_publisher_s(tmp_path, inside, monkeypatch):
    write(tmp_path, FILES)
    assert raw_folder(make_source(), str(tmp_path / inside), tmp_path / "cache") == tmp_path / "Data Set"
    monkeypatch.setenv("DCDP_RAW_DIR", str(tmp_path / inside))
    assert raw_folder(make_source(), "", tmp_path / "cache") == tmp_path / "Data Set"


@pytest.mark.parametrize("inside", ["", "Outer", "Outer/Data Set"])
def test_nested_folders(tmp_path, inside):
    write(tmp_path / "Outer", FILES)
    found = raw_folder(make_source(folder="Outer/Data Set"), str(tmp_path / inside), tmp_path / "cache")
    assert found == tmp_path / "Outer" / "Data Set"


def test_an_incomplete_folder_names_what_is_missing(tmp_path):
    write(tmp_path, {"Data Set/one.txt": b"1"})
    with pytest.raises(DataError, match=r"Data Set: test is incomplete, missing: two.txt"):
        raw_folder(make_source(), str(tmp_path), tmp_path / "cache")


def test_a_data_set_known_by_a_pattern_may_be_incomplete(tmp_path):
    write(tmp_path, FILES)
    known = make_source(files=(), pattern="more/*.dat")
    assert raw_folder(known, str(tmp_path), tmp_path / "cache") == tmp_path / "Data Set"
    with pytest.raises(DataError, match=r"no test here; expected the folder 'Data Set' or one of set.zip, inner.zip"):
        raw_folder(make_source(files=(), pattern="*.csv"), str(tmp_path), tmp_path / "cache")
    with pytest.raises(DataError, match=r"incomplete, missing: labels.txt"):
        raw_folder(make_source(files=("labels.txt",), pattern="more/*.dat"), str(tmp_path), tmp_path / "cache")


def test_nothing_there_names_the_address_and_the_size(tmp_path):
    with pytest.raises(DataError, match=r"from http://127.0.0.1:9/set.zip, 3 bytes"):
        raw_folder(make_source(b"abc"), str(tmp_path), tmp_path / "cache")
    with pytest.raises(DataError, match=r"\(from https://archive.ics.uci.edu/.*, about 307 MB\)"):
        raw_folder(DATASETS["opportunity"].source, str(tmp_path), tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("set.zip", zipped(FILES)),
        ("set.zip", zipped({"inner.zip": zipped(FILES), "readme.txt": b""})),
        ("inner.zip", zipped(FILES)),
        ("set.zip", zipped(FILES | {"__MACOSX/Data Set/._one.txt": b"x", "Data Set/._two.txt": b"y"})),
        ("set.zip", zipped({"inner.zip": zipped(FILES), "__MACOSX/._inner.zip": b"no zip file"})),
        ("set.tar.gz", tarred(FILES)),
        ("set.tar.gz", tarred(FILES, "w:xz")),
        ("set.tar.gz", tarred({"._Data Set": b""} | FILES)),
    ],
    ids=["plain", "nested", "inner only", "resource forks", "nested forks", "tar.gz", "tar.xz", "tar forks"],
)
def test_archives_in_the_folder(tmp_path, name, body):
    write(tmp_path / "raw", {name: body})
    known = make_source(name="set.tar.gz" if "tar" in name else "set.zip")
    folder = raw_folder(known, str(tmp_path / "raw"), tmp_path / "cache")
    assert {p.relative_to(folder.parent).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == FILES
    before = folder.stat().st_mtime_ns
    assert raw_folder(known, str(tmp_path / "raw"), tmp_path / "cache") == folder
    assert folder.stat().st_mtime_ns == before
    assert [p.name for p in (tmp_path / "cache" / "unpacked").iterdir()] == [folder.parent.name]


def test_an_archive_without_the_folder_s_name(tmp_path):
    write(tmp_path, {"set.zip": zipped({name.removeprefix("Data Set/"): data for name, data in FILES.items()})})
    folder = raw_folder(make_source(), str(tmp_path), tmp_path / "cache")
    assert (folder / "two.txt").read_bytes() == b"2" * 1000


def test_an_archive_of_something_else(tmp_path):
    write(tmp_path, {"set.zip": zipped({"a.txt": b""})})
    with pytest.raises(DataError, match=r"set.zip: holds no test; expected Data Set with one.txt"):
        raw_folder(make_source(), str(tmp_path), tmp_path / "cache")
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


@pytest.mark.parametrize("name", ["../out.txt", "Data Set/../../out.txt", "/tmp/out.txt", "\\\\server\\out.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_paths_that_leave_the_archive(tmp_path, name, kind):
    path = tmp_path / f"set.{kind}"
    path.write_bytes((zipped if kind == "zip" else tarred)(FILES | {name: b"x"}))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with pytest.raises(DataError, match=r"would leave the folder"):
        extract(path, tmp_path / "deep" / "er", 1 << 20)
    assert not list(tmp_path.glob("*.txt"))
    assert not list((tmp_path / "deep").glob("*.txt"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices(tmp_path, kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("Data Set")
        member.type, member.linkname = kind, "/etc"
        archive.addfile(member)
    (tmp_path / "set.tar").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="'Data Set' is neither a file nor a folder"):
        extract(tmp_path / "set.tar", tmp_path / "out", 1 << 20)


@pytest.mark.parametrize("kind", ["zip", "nested", "tar.gz"])
def test_bombs_are_not_unpacked(tmp_path, kind):
    bomb = {"Data Set/zeros.txt": bytes(3 << 20)}
    body = {"zip": zipped(bomb), "nested": zipped({"inner.zip": zipped(bomb)}), "tar.gz": tarred(bomb)}[kind]
    assert len(body) < 10_000
    name = "set.tar.gz" if kind == "tar.gz" else "set.zip"
    (tmp_path / name).write_bytes(body)
    with pytest.raises(DataError, match="more bytes than a whole data set"):
        unpack(tmp_path / name, make_source(name=name), tmp_path / "cache")
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_the_limit_holds_for_all_members_together(tmp_path):
    inner = {f"{i}.zip": zipped({f"Data Set/{i}.txt": bytes(400_000)}) for i in range(4)}
    (tmp_path / "set.zip").write_bytes(zipped(inner))
    with pytest.raises(DataError, match="more bytes than a whole data set"):
        unpack(tmp_path / "set.zip", make_source(), tmp_path / "cache")


def test_a_zip_that_lies_about_its_size(tmp_path):
    body = bytearray(zipped({"Data Set/zeros.txt": bytes(3 << 20)}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", body, body.index(signature) + offset, 10)
    (tmp_path / "set.zip").write_bytes(body)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="not a whole zip file"):
        extract(tmp_path / "set.zip", tmp_path / "out", 1 << 20)
    assert all(p.stat().st_size <= 4096 for p in (tmp_path / "out").rglob("*.txt"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_damaged_archives_are_errors_or_hold_the_same_files(tmp_path, kind):
    files = {"Data Set/one.txt": b"1" * 50, "Data Set/two.txt": RNG.bytes(400)}
    body = (zipped if kind == "zip" else tarred)(files)
    path = tmp_path / f"set.{kind}"
    rng = np.random.default_rng(0)
    errors = 0
    for i in range(400):
        damaged = bytearray(body)
        if i % 4:
            damaged[rng.integers(len(body))] = rng.integers(256)
        else:
            del damaged[rng.integers(len(body)) :]
        path.write_bytes(damaged)
        out = tmp_path / str(i)
        out.mkdir()
        message = ""
        try:
            extract(path, out, 1 << 20)
        except DataError as error:
            message = str(error)
        if message:
            errors += 1
            assert path.name in message
        else:  # names of members carry no checksum in a zip file
            assert {p.read_bytes() for p in out.rglob("*") if p.is_file()} <= set(files.values())
    assert errors > 100


@pytest.mark.parametrize("known", [True, False])
def test_a_download_that_is_cut_is_resumed(tmp_path, known):
    body = zipped(FILES)
    with serving({"set.zip": body}, cuts=[len(body) // 2, 1000]) as server:
        wanted = make_source(body, server.url("set.zip"), known=known)
        path = download(wanted, tmp_path)
        assert path.read_bytes() == body
        assert [span for _, span in server.requests] == [
            None,
            f"bytes={len(body) // 2}-",
            f"bytes={len(body) // 2 + 1000}-",
        ]
        assert download(wanted, tmp_path) == path
        assert len(server.requests) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["set.zip"]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("have", [1, 5000, None], ids=["first byte", "some", "all"])
def test_a_download_of_an_earlier_process_is_resumed(tmp_path, known, have):
    body = zipped(FILES)
    (tmp_path / "set.zip.part").write_bytes(body[:have])
    with serving({"set.zip": body}) as server:
        assert download(make_source(body, server.url("set.zip"), known=known), tmp_path).read_bytes() == body
        assert len(server.requests) == (0 if known and have is None else 1)


def test_a_server_without_ranges_starts_again(tmp_path):
    body = zipped(FILES)
    (tmp_path / "set.zip.part").write_bytes(b"x" * 5000)
    with serving({"set.zip": body}, ranges=False) as server:
        assert download(make_source(body, server.url("set.zip")), tmp_path).read_bytes() == body


@pytest.mark.parametrize("change", [lambda body: body[:-1] + b"x", lambda body: body + b"x"])
def test_another_file_than_the_published_one_is_removed(tmp_path, change):
    body = zipped(FILES)
    removed = pytest.raises(DataError, match=r"bytes with SHA-256 .* came, expected .*; the download was removed")
    with serving({"set.zip": change(body)}) as server, removed:
        download(make_source(body, server.url("set.zip")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_archive_of_something_else_is_removed(tmp_path):
    refused = pytest.raises(DataError, match="not a whole zip file")
    with serving({"set.zip": b"<html>moved</html>"}) as server, refused:
        raw_folder(make_source(b"", server.url("set.zip"), known=False), "", tmp_path)
    assert not list((tmp_path / "downloads").iterdir())


def test_offline_names_address_size_and_place(tmp_path):
    for known, size in ((True, "3 bytes"), (False, "about 0 MB")):
        with pytest.raises(DataError) as error:
            raw_folder(make_source(b"abc", known=known), "", tmp_path)
        for part in (
            "http://127.0.0.1:9/set.zip",
            size,
            "set.zip",
            "'Data Set'",
            "--config.data.raw_dir",
            "DCDP_RAW_DIR",
        ):
            assert part in str(error.value)


def test_a_server_s_refusal(tmp_path):
    with serving({}) as server, pytest.raises(DataError, match=r"could not be downloaded \(HTTPError\)"):
        download(make_source(b"abc", server.url("set.zip")), tmp_path)


def test_a_server_that_always_cuts_at_once_is_given_up(tmp_path):
    with serving({"set.zip": b"x" * 100}, cuts=[10, 0, 0]) as server:
        with pytest.raises(DataError, match="could not be downloaded"):
            download(make_source(b"x" * 100, server.url("set.zip")), tmp_path)
        assert len(server.requests) == 2


def test_the_cache_is_the_user_s(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dcdp_jax"
    assert cache_folder("/x/y").as_posix() == "/x/y"


def small_archive(name, folder):
    """The archive of a small data set, nested as its publisher nests it."""
    known = DATASETS[name].source
    files = {f"{known.folder}/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*.*")}
    files["__MACOSX/._x"] = b"fork"
    if known.archive.endswith(".tar.gz"):
        return tarred(files)
    if name == "hapt":
        return zipped({path.removeprefix(f"{known.folder}/"): data for path, data in files.items()})
    return zipped({known.alternative: zipped(files)}) if known.alternative else zipped(files)


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if spec.source])
def test_every_data_set_from_download_to_recordings(name, tmp_path):
    reader = DATASETS[name]
    small.write(name, tmp_path / "small")
    body = small_archive(name, tmp_path / "small")
    with serving({reader.source.archive: body}, cuts=[len(body) // 2]) as server:
        known = reader.source._replace(url=server.url(reader.source.archive))
        if known.sha256:
            known = known._replace(size=len(body), sha256=hashlib.sha256(body).hexdigest())
        folder = raw_folder(known, "", tmp_path / "cache")
        assert [bool(span) for _, span in server.requests] == [False, True]
    found, expected = reader.read(folder), reader.read(tmp_path / "small")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.signals, b.signals)
        np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("name", ["uci_har", "hapt", "wisdm", "pamap2", "dsads"])
def test_real_archives_from_download_to_folder(name, raw_dir, tmp_path):
    """The archives of unpack.py --archives, served on localhost, with the connection cut half-way."""
    reader = DATASETS[name]
    archive = raw_dir / reader.source.archive
    if not archive.exists():
        pytest.skip(f"no {archive.name} here; unpack.py --archives makes it")
    body = archive.read_bytes()
    with serving({archive.name: body}, cuts=[len(body) // 2]) as server:
        known = reader.source._replace(url=server.url(archive.name))
        if known.sha256:
            known = known._replace(size=len(body), sha256=file_sha256(archive))
        folder = raw_folder(known, "", tmp_path)
        assert [span for _, span in server.requests] == [None, f"bytes={len(body) // 2}-"]
    published = raw_dir / reader.source.folder
    names = {p.relative_to(folder) for p in folder.rglob("*.*")}
    assert names == {p.relative_to(published) for p in published.rglob("*.*")}
    for path in sorted(names)[::100]:
        assert (folder / path).read_bytes() == (published / path).read_bytes()


def test_published_downloads_are_the_documented_ones():
    numbers = {
        "opportunity": 226,
        "pamap2": 231,
        "uci_har": 240,
        "hapt": 341,
        "dsads": 256,
        "mhealth": 319,
        "harth": 779,
    }
    for name, number in numbers.items():
        known = DATASETS[name].source
        assert known.url == f"https://archive.ics.uci.edu/static/public/{number}/{known.archive}"
    assert DATASETS["uci_har"].source.size == 61_005_872
    assert DATASETS["wisdm"].source.url.startswith("https://www.cis.fordham.edu/wisdm/includes/datasets/latest/")
