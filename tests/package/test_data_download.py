"""Where the data come from: mirrors, good and bad, the cache, and the bundled digits."""

import hashlib
import logging
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pooch
import pytest
from mirror import FILES, HTML, Mirror, archives, contents, garments, write

from vaecore import data, download

CACHED = sorted(f"{file}.gz" for file in FILES)  # all that should be in the cache after a download


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """No settings from outside, a cache of our own, and no way out of this machine."""
    for variable in ("VAECORE_DATA", "VAECORE_MIRROR", "VAECORE_BUILD", "http_proxy", "HTTP_PROXY", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    look_up = socket.getaddrinfo

    def only_here(host, *args, **kwargs):
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(-2, f"a test asked for {host}")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))  # before a second try


@pytest.fixture
def cached(tmp_path):
    return lambda: sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


@pytest.fixture
def serve(monkeypatch):
    """Starts mirrors: of files, with a fault if any; `first` is $VAECORE_MIRROR, the others are public."""
    mirrors = []

    def start(files, fault="", first=False):
        mirrors.append(Mirror(files, fault))
        if first:
            monkeypatch.setenv("VAECORE_MIRROR", mirrors[-1].address)
        return mirrors[-1]

    yield start
    for mirror in mirrors:
        mirror.close()


@pytest.fixture
def files(monkeypatch):
    """The archives that a mirror of MNIST should serve: the bundled digits, with their sums instead of MNIST's."""
    packed = archives(contents(data.BUNDLED))
    monkeypatch.setattr(data, "SHA256", data.BUNDLED_SHA256)
    expect(monkeypatch, "MNIST", packed)
    return packed


def expect(monkeypatch, name: str, packed: dict[str, bytes], mirrors: tuple[str, ...] = ()) -> None:
    """These archives are the set of this name, to be found on these public mirrors."""
    md5 = tuple(hashlib.md5(stored).hexdigest() for stored in packed.values())
    monkeypatch.setitem(data.MD5, name, md5)
    monkeypatch.setitem(data.MIRRORS, name, mirrors)


def test_a_mirror_goes_first_and_fills_the_cache(files, serve, cached, tmp_path):
    school, level = serve(files, first=True), pooch.get_logger().level
    digits, plain = data.mnist(), contents(data.BUNDLED)
    assert digits.x_train.numpy().tobytes() == plain[FILES[0]][16:]
    assert digits.y_test.tolist() == list(plain[FILES[3]][8:])
    assert school.asked == [f"/{file}.gz" for file in FILES] and cached() == CACHED
    assert data.fingerprint(data.mnist()) == data.fingerprint(digits) and len(school.asked) == 4
    assert pooch.get_logger().level == level
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.gz")} == {0o644}  # for all who share the cache


def test_a_mirror_in_torchvisions_layout(files, serve, cached):
    school = serve({f"/MNIST/raw{path}": stored for path, stored in files.items()}, first=True)
    data.mnist()
    assert cached() == CACHED and len(school.asked) == 6  # two in vain, right under the address


@pytest.mark.parametrize("fault", ["cut off", "error 500", "flipped bit", "other set", "silent", "stalled", "web page"])
def test_a_bad_mirror_is_passed_over(fault, files, serve, cached, monkeypatch, caplog):
    bad, good = serve(files, fault, first=True), serve(files)
    monkeypatch.setitem(data.MIRRORS, "MNIST", ("http://mirror.invalid/", good.address))
    data.mnist()
    assert bad.asked[0] == f"/{FILES[0]}.gz" and good.asked == list(files)
    assert cached() == CACHED and caplog.messages == []


@pytest.mark.parametrize("address", ["127.0.0.1:1", "http://127.0.0.1:1", "http://", "nonsense", "http://a b/"])
def test_an_address_that_is_none_is_passed_over(address, files, serve, cached, monkeypatch):
    monkeypatch.setitem(data.MIRRORS, "MNIST", (serve(files).address,))
    monkeypatch.setenv("VAECORE_MIRROR", address)
    data.mnist()
    assert cached() == CACHED


def test_without_network_the_bundled_digits(cached, monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's; a learner's terminal or notebook has none
    assert "bundled with vaecore" in repr(data.mnist())
    message = capsys.readouterr().err
    assert message.startswith(f"MNIST could not be downloaded ({data.MIRRORS['MNIST'][0]}")
    assert "so these are the 10,000 digits bundled with vaecore" in message and cached() == []


def test_a_file_that_no_mirror_has_whole(files, serve, cached, caplog):
    school = serve(files | {f"/{FILES[3]}.gz": HTML}, first=True)
    assert len(data.mnist().x_train) == 8000
    assert f"/{FILES[3]}.gz" in school.asked and FILES[3] not in " ".join(cached())
    assert len(caplog.messages) == 1 and school.address in caplog.text


def test_a_cache_that_cannot_be_written(files, serve, tmp_path, cached, monkeypatch):
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    serve(files, first=True)
    assert len(data.mnist().x_train) == 8000
    assert sorted(path.name for path in (tmp_path / "home").rglob("*.gz")) == CACHED


def test_a_file_deleted_from_the_cache_is_fetched_again(files, serve, tmp_path, cached):
    school = serve(files, first=True)
    first = data.mnist()
    (tmp_path / "cache/vaecore/MNIST/raw" / f"{FILES[2]}.gz").unlink()
    assert data.fingerprint(data.mnist()) == data.fingerprint(first)
    assert cached() == CACHED and len(school.asked) == 5


@pytest.mark.parametrize("address", ["nonsense", ""])
def test_the_good_files_of_the_cache_survive_a_bad_mirror(address, files, serve, tmp_path, cached, monkeypatch, caplog):
    serve(files, first=True)
    data.mnist()
    (tmp_path / "cache/vaecore/MNIST/raw" / f"{FILES[2]}.gz").unlink()
    login = serve(dict.fromkeys(files, HTML))
    monkeypatch.setenv("VAECORE_MIRROR", address or login.address)
    data.mnist()
    assert "bundled with vaecore" in caplog.text
    assert cached() == [name for name in CACHED if FILES[2] not in name]


def test_several_downloads_at_once(files, serve, cached, caplog):
    serve(files, first=True)
    with ThreadPoolExecutor(4) as pool:
        prints = set(pool.map(lambda _: data.fingerprint(data.mnist()), range(4)))
    assert len(prints) == 1 and caplog.messages == [] and cached() == CACHED


def test_a_progress_bar_but_not_in_a_built_page(files, serve, tmp_path, monkeypatch, capsys):
    serve(files, first=True)
    data.mnist()
    assert "100%" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("VAECORE_BUILD", "1")
    data.mnist()
    assert capsys.readouterr() == ("", "")


def test_the_sums_are_torchvisions():
    from torchvision import datasets

    for name in data.NAMES:
        resources = dict(getattr(datasets, name).resources)
        assert resources == {f"{file}.gz": md5 for file, md5 in zip(data.FILES, data.MD5[name], strict=True)}


@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST"])
def test_other_names_are_checked_by_their_sums(name, serve, cached, monkeypatch):
    files = archives(garments(), f"/{name}/raw/")
    serve(files, first=True)
    monkeypatch.setitem(data.MIRRORS, name, ("http://mirror.invalid/",))
    with pytest.raises(ConnectionError, match=f"{name} could not be downloaded"):
        data.mnist(name)
    assert cached() == []
    expect(monkeypatch, name, files)
    digits = data.mnist(name)
    assert repr(digits) == f"{name}: 60,000 training and 10,000 test images, on cpu"
    assert digits.is_full and (digits.y_train == 9).all()


def test_other_names_without_network(cached):
    with pytest.raises(ConnectionError, match=r"KMNIST could not be downloaded \(.*set \$VAECORE_DATA to a folder"):
        data.mnist("KMNIST")
    assert cached() == []


def test_a_damaged_cache_says_what_to_do(tmp_path):
    write(tmp_path / "cache" / "vaecore", {file: HTML for file in FILES})
    with pytest.raises(ValueError, match=r"cache/vaecore/MNIST/raw/train-images-idx3-ubyte is no .*; move it away"):
        data.mnist()
