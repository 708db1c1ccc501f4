"""Where the data come from: mirrors, good and bad, the cache, and the digits that travel along."""

import hashlib
import logging
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mirror import FILES, HTML, PACKAGED, Mirror, archives, contents, garments, whole_mnist, write
from torchvision import datasets

from vaecore import data

WHOLE = whole_mnist()
DOWNLOADED = sorted(f"vaecore/MNIST/raw/{file}" for file in FILES)  # all that should be in the cache then


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """No settings from outside, a cache of our own, and no way out of this machine."""
    for variable in ("VAECORE_DATA", "VAECORE_MIRROR", "VAECORE_BUILD", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    look_up = socket.getaddrinfo

    def only_here(host, *args, **kwargs):
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(-2, f"a test asked for {host}")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)
    monkeypatch.setattr(data, "TIMEOUT", 0.5)


def cached(tmp_path: Path) -> list[str]:
    """The files in the cache, and folders of unfinished downloads."""
    cache = tmp_path / "cache"
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() or "unfin" in path.name)


@pytest.fixture
def serve():
    mirrors = []

    def start(files, fault=""):
        mirrors.append(Mirror(files, fault))
        return mirrors[-1]

    yield start
    for mirror in mirrors:
        mirror.close()


@pytest.fixture(params=["packaged", *(["whole"] if WHOLE else [])])
def mnist_files(request, monkeypatch):
    """The files that a mirror should serve: MNIST's, or the packaged digits with their sums in the place of MNIST's."""
    if request.param == "packaged":
        monkeypatch.setattr(data, "SHA256", data.PACKAGED_SHA256)
    return contents(PACKAGED if request.param == "packaged" else WHOLE)


@pytest.fixture
def packaged_as_mnist(monkeypatch):
    monkeypatch.setattr(data, "SHA256", data.PACKAGED_SHA256)
    return contents(PACKAGED)


def torchvision_mirrors(monkeypatch, *addresses, name="MNIST"):
    monkeypatch.setattr(getattr(datasets, name), "mirrors", list(addresses))


def test_mirror_goes_first_and_fills_the_cache(mnist_files, serve, tmp_path, monkeypatch):
    school, theirs = serve(archives(mnist_files)), serve({})
    monkeypatch.setenv("VAECORE_MIRROR", school.address)
    torchvision_mirrors(monkeypatch, theirs.address)
    digits = data.mnist()
    assert digits.x_train.numpy().tobytes() == mnist_files[FILES[0]][16:]
    assert digits.y_test.tolist() == list(mnist_files[FILES[3]][8:])
    assert school.asked == [f"/{file}.gz" for file in FILES] and theirs.asked == []
    assert cached(tmp_path) == DOWNLOADED
    again = data.mnist()
    assert len(school.asked) == 4  # the second time nothing was asked for
    assert data.fingerprint(again) == data.fingerprint(digits)


def test_mirror_in_torchvisions_layout(packaged_as_mnist, serve, tmp_path, monkeypatch):
    school = serve(archives(packaged_as_mnist, "/data/MNIST/raw/"))
    monkeypatch.setenv("VAECORE_MIRROR", school.address + "data")
    torchvision_mirrors(monkeypatch)
    data.mnist()
    assert cached(tmp_path) == DOWNLOADED and len(school.asked) == 5  # one in vain, right under the address


@pytest.mark.parametrize("fault", ["cut off", "error 500", "flipped bit", "other set", "silent", "stalled", "web page"])
def test_bad_mirror_is_passed_over(fault, packaged_as_mnist, serve, tmp_path, monkeypatch, caplog):
    files = archives(packaged_as_mnist)
    bad, good = serve(files, fault), serve(files)
    monkeypatch.setenv("VAECORE_MIRROR", bad.address)
    torchvision_mirrors(monkeypatch, "http://mirror.invalid/", good.address)
    data.mnist()
    assert bad.asked[0] == f"/{FILES[0]}.gz" and set(good.asked) == set(files)
    assert cached(tmp_path) == DOWNLOADED
    assert caplog.messages == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "http://127.0.0.1:1", "http://", "nonsense", "http://a b/", "ftp://mirror.invalid"]
)
def test_address_that_is_none(address, packaged_as_mnist, serve, tmp_path, monkeypatch):
    monkeypatch.setenv("VAECORE_MIRROR", address)
    torchvision_mirrors(monkeypatch, serve(archives(packaged_as_mnist)).address)
    data.mnist()
    assert cached(tmp_path) == DOWNLOADED


def test_without_network_the_packaged_digits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's; a learner's terminal or notebook has none
    digits = data.mnist()
    assert len(digits.x_train) == 8000 and "travel with vaecore" in repr(digits)
    told = capsys.readouterr().err
    assert told.startswith(f"MNIST could not be downloaded ({datasets.MNIST.mirrors[0]}")
    assert told.endswith(
        "so these are the 10,000 digits that travel with vaecore: 8,000 to train on and 2,000 to test on.\n"
    )
    assert told.count("\n") == 1 and cached(tmp_path) == []


def test_download_that_fails_late_leaves_nothing(packaged_as_mnist, serve, tmp_path, monkeypatch, caplog):
    files = archives(packaged_as_mnist)
    files[f"/{FILES[3]}.gz"] = HTML
    school = serve(files)
    monkeypatch.setenv("VAECORE_MIRROR", school.address)
    torchvision_mirrors(monkeypatch)
    assert len(data.mnist().x_train) == 8000
    assert f"/{FILES[3]}.gz" in school.asked
    assert len(caplog.messages) == 1 and f"{school.address}: t10k-labels-idx1-ubyte.gz has another" in caplog.text
    assert cached(tmp_path) == []


def test_cache_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert len(data.mnist().x_train) == 8000
    assert len(caplog.messages) == 1 and "so these are the 10,000 digits" in caplog.text


def test_a_file_deleted_from_the_cache_is_fetched_anew(packaged_as_mnist, serve, tmp_path, monkeypatch):
    monkeypatch.setenv("VAECORE_MIRROR", serve(archives(packaged_as_mnist)).address)
    first = data.mnist()
    (tmp_path / "cache/vaecore/MNIST/raw" / FILES[2]).unlink()
    assert data.fingerprint(data.mnist()) == data.fingerprint(first)
    assert cached(tmp_path) == DOWNLOADED


def test_downloads_at_once(packaged_as_mnist, serve, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("VAECORE_MIRROR", serve(archives(packaged_as_mnist)).address)
    with ThreadPoolExecutor(4) as pool:
        prints = set(pool.map(lambda _: data.fingerprint(data.mnist()), range(4)))
    assert len(prints) == 1 and caplog.messages == []
    assert cached(tmp_path) == DOWNLOADED


def test_progress_bar_but_not_in_a_built_page(packaged_as_mnist, serve, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VAECORE_MIRROR", serve(archives(packaged_as_mnist)).address)
    data.mnist()
    assert "train-images-idx3-ubyte.gz: 100%" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("VAECORE_BUILD", "1")
    data.mnist()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST"])
def test_other_names_are_checked_by_torchvisions_sums(name, serve, tmp_path, monkeypatch):
    files = archives(garments(), f"/{name}/raw/")
    school = serve(files)
    monkeypatch.setenv("VAECORE_MIRROR", school.address)
    torchvision_mirrors(monkeypatch, "http://mirror.invalid/", name=name)
    with pytest.raises(
        ConnectionError,
        match=f"{name} could not be downloaded .*/{name}/raw/: train-images-idx3-ubyte.gz has another checksum",
    ):
        data.mnist(name)
    assert cached(tmp_path) == []
    sums = [(f"{file}.gz", hashlib.md5(files[f"/{name}/raw/{file}.gz"]).hexdigest()) for file in FILES]
    monkeypatch.setattr(getattr(datasets, name), "resources", sums)
    digits = data.mnist(name)
    assert repr(digits) == f"{name}: 60,000 training and 10,000 test images, on cpu"
    assert digits.is_full and digits.name == name and (digits.y_train == 9).all()


def test_other_names_without_network(tmp_path):
    with pytest.raises(ConnectionError, match=r"KMNIST could not be downloaded \(.*set \$VAECORE_DATA to a folder"):
        data.mnist("KMNIST")
    assert cached(tmp_path) == []


def test_damaged_cache_says_what_to_do(tmp_path):
    write(tmp_path / "cache" / "vaecore", {file: HTML for file in FILES})
    with pytest.raises(
        ValueError, match=r"cache/vaecore/MNIST/raw/train-images-idx3-ubyte is no .*; delete it and run again$"
    ):
        data.mnist()
