"""Reading MNIST's files, each kind of damage to them, and what becomes of a pixel."""

import dataclasses
import gzip
import re
import subprocess
import sys
import warnings

import pytest
import torch
from mirror import FILES, HTML, contents, flip, garments, idx, whole_mnist, write
from torchvision import datasets

from vaecore import data, figures
from vaecore.explorer import DigitExplorer
from vaecore.vae import VAE

WHOLE = whole_mnist()


def tensors(digits: data.Pictures) -> list[torch.Tensor]:
    return [digits.x_train, digits.y_train, digits.x_test, digits.y_test]


# ---- The bundled digits, and the layouts


def test_the_bundled_digits(digits):
    assert [tuple(tensor.shape) for tensor in tensors(digits)] == [(8000, 784), (8000,), (2000, 784), (2000,)]
    assert [tensor.dtype for tensor in tensors(digits)] == [torch.uint8, torch.int64] * 2
    x, y = torch.cat([digits.x_train, digits.x_test]), torch.cat([digits.y_train, digits.y_test])
    images = {(row.tobytes(), int(label)) for row, label in zip(x.numpy(), y, strict=True)}
    assert len(images) == 10_000  # none twice, so none both to train and to test on
    of_each_class = [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]  # as in MNIST's first 10,000
    assert y.bincount().tolist() == of_each_class
    assert (digits.y_test.bincount() / y.bincount() - 0.2).abs().max() < 0.05
    if WHOLE:
        whole = data.mnist(root=WHOLE)
        first = zip(whole.x_train[:10_000].numpy(), whole.y_train[:10_000], strict=True)
        assert images == {(row.tobytes(), int(label)) for row, label in first}
        assert whole.is_full and repr(whole) == "MNIST: 60,000 training and 10,000 test digits, on cpu"


def test_the_repr_says_which_digits(digits):
    text = "MNIST: 8,000 training and 2,000 test digits of the 10,000 bundled with vaecore"
    assert digits.describe() == text and repr(digits) == f"{text}, on cpu"
    assert not digits.is_full and digits.shape == (28, 28)


@pytest.mark.parametrize("layout", ["plain", "gz", "gz that a server unpacked"])
def test_layouts_read_as_torchvision_reads_them(layout, tmp_path):
    plain = contents(data.BUNDLED)
    stored = {
        "plain": plain,
        "gz": {f"{file}.gz": gzip.compress(plain[file], 1) for file in FILES},
        "gz that a server unpacked": {f"{file}.gz": plain[file] for file in FILES},
    }[layout]
    ours = data.mnist(root=str(write(tmp_path / "ours", stored)))
    write(tmp_path / "theirs", plain)
    for train, x, y in ((True, ours.x_train, ours.y_train), (False, ours.x_test, ours.y_test)):
        theirs = datasets.MNIST(tmp_path / "theirs", train=train)
        assert torch.equal(x, theirs.data.reshape(-1, 784)) and torch.equal(y, theirs.targets)


OTHER_PLACES = {  # of one file, where "{}" is its name
    "a dot before idx": "MNIST/raw/{.}",
    "a dot, packed": "MNIST/raw/{.}.gz",
    "a folder of its own name": "MNIST/raw/{}/{}",
    "a folder with a dot": "{.}/{.}",
    "one level up": "MNIST/{}",
    "no folders": "{}",
    "root is one level too deep": "raw/{}",
}


@pytest.mark.parametrize("place", OTHER_PLACES)
def test_mnist_as_it_comes_from_elsewhere(place, digits, tmp_path):
    """As Kaggle and `gunzip -N` name it, and with a root one or two levels off; its checksums say that it is MNIST."""
    for file, stored in contents(data.BUNDLED).items():
        path = tmp_path / OTHER_PLACES[place].replace("{.}", file.replace("-idx", ".idx")).replace("{}", file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(stored, 1) if path.suffix == ".gz" else stored)
    assert data.fingerprint(data.mnist(root=tmp_path)) == data.fingerprint(digits)
    with pytest.raises(FileNotFoundError, match="FashionMNIST/raw"):  # which no checksum would tell from it
        data.mnist("FashionMNIST", root=tmp_path)


def test_where_mnist_is_missing_the_error_says_what_is_there(tmp_path, monkeypatch):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for name in ("mnist_train.csv", "images"):
        (tmp_path / "MNIST" / "raw" / name).mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/MNIST/raw holds images/, mnist_train.csv/;"):
        data.mnist(root=".")
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path} holds MNIST/;"):
        data.mnist(root=tmp_path / "nowhere")


def test_the_variable_names_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VAECORE_DATA", str(data.BUNDLED))
    assert len(data.mnist().x_train) == 8000
    monkeypatch.setenv("VAECORE_DATA", str(tmp_path / "nothing here"))
    with pytest.raises(FileNotFoundError, match="nothing here/MNIST/raw/train-images-idx3-ubyte is missing"):
        data.mnist()
    assert len(data.mnist(root=data.BUNDLED).x_train) == 8000  # the argument goes before the variable


# ---- Damaged files

DAMAGE = {  # what is done to which file, and what the message says of it
    "cut off": (FILES[0], lambda s: s[:-100], "has 6,271,916 bytes where its header promises 6,272,016"),
    "too long": (FILES[2], lambda s: s + b"\0", "has 1,568,017 bytes where its header promises"),
    "cut off in the header": (FILES[0], lambda s: s[:10], "is no idx file of images"),
    "empty": (FILES[3], lambda s: b"", "is no idx file of labels"),
    "web page": (FILES[0], lambda s: HTML, "is no idx file of images"),
    "images for labels": (FILES[1], lambda s: idx(5, 28, 28), "is no idx file of labels"),
    "32-bit integers": (FILES[0], lambda s: b"\0\0\x0c\x03" + s[4:], "is no idx file of images"),
    "other shape": (FILES[0], lambda s: idx(100, 14, 56), "holds images of 14 x 56 pixels, not 28 x 28"),
    "no images": (FILES[0], lambda s: idx(0, 28, 28), "has another checksum than MNIST's"),
    "fewer labels": (FILES[1], lambda s: idx(7999), "holds 7,999 labels for 8,000 images"),
    "label 17": (FILES[1], lambda s: idx(8000, fill=17), "holds the label 17, not only 0 to 9"),
    "other labels": (FILES[3], lambda s: idx(2000, fill=3), "has another checksum than MNIST's"),
    "one pixel's bit": (FILES[0], flip, "has another checksum than MNIST's"),
    "gz cut off": (FILES[0], lambda s: gzip.compress(s, 1)[:-5000], "is a damaged gzip file"),
    "gz with a flipped bit": (FILES[0], lambda s: flip(gzip.compress(s, 1)), "is a damaged gzip file"),
    "gz with more after it": (FILES[1], lambda s: gzip.compress(s, 1) + b"rubbish", "is a damaged gzip file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(damage, tmp_path):
    file, change, reason = DAMAGE[damage]
    stored = contents(data.BUNDLED)
    stored[file] = change(stored[file])
    with pytest.raises(ValueError, match=reason) as caught:
        data.mnist(root=write(tmp_path, stored))
    assert str(caught.value).startswith(str(tmp_path / "MNIST" / "raw" / file)) and "good copy" in str(caught.value)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(file, tmp_path):
    stored = contents(data.BUNDLED)
    del stored[file]
    with pytest.raises(FileNotFoundError, match=f"/MNIST/raw/{file} is missing"):
        data.mnist(root=write(tmp_path, stored))


def test_sets_are_not_mixed(monkeypatch):
    """The bundled test digits are training digits of the whole MNIST: such a pair would leak."""
    other, sums = dict.fromkeys(FILES, "another sum"), data.BUNDLED_SHA256
    monkeypatch.setattr(data, "SHA256", other | {file: sums[file] for file in FILES[:2]})
    monkeypatch.setattr(data, "BUNDLED_SHA256", other | {file: sums[file] for file in FILES[2:]})
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte.gz has another checksum"):
        data.mnist(root=data.BUNDLED)


@pytest.mark.parametrize(
    ("file", "stored", "reason"),
    [
        (FILES[0], idx(59_999, 28, 28), "holds 59,999 entries, not the 60,000 of FashionMNIST"),
        (FILES[2], idx(60_000, 28, 28), "holds 60,000 entries, not the 10,000 of FashionMNIST"),
        (FILES[3], idx(10_000, fill=10), "holds the label 10, not only 0 to 9"),
    ],
)
def test_other_names_are_checked_by_size(file, stored, reason, tmp_path):
    root = write(tmp_path, {**garments(), file: stored}, "FashionMNIST")
    with pytest.raises(ValueError, match=f"FashionMNIST/raw/{file} {reason}"):
        data.mnist("FashionMNIST", root=root)


# ---- What becomes of a pixel


def test_the_fingerprint_depends_on_every_tensor(digits):
    prints = {data.fingerprint(digits), data.fingerprint(data.mnist(root=data.BUNDLED))}
    assert len(prints) == 1
    for field in ("x_train", "y_train", "x_test", "y_test"):
        changed = getattr(digits, field).clone()
        changed[-1:] ^= 1
        prints.add(data.fingerprint(dataclasses.replace(digits, **{field: changed})))
    assert len(prints) == 5


def test_binarize_draws_every_level_with_its_probability():
    """Each of the 256 levels x is 1 with probability x / 255, so nearly that x / 256 would be found to be wrong."""
    torch.manual_seed(0)
    x = torch.arange(256, dtype=torch.uint8).repeat(10_000, 1)
    rounds = 20
    ones = sum(data.binarize(x).sum(0, dtype=torch.float64) for _ in range(rounds))
    n, p = rounds * len(x), torch.arange(256, dtype=torch.float64) / 255
    assert ones[0] == 0 and ones[255] == n
    z = ((ones - n * p) / (n * p * (1 - p)).sqrt())[1:255]
    assert z.abs().max() < 5
    assert abs((z**2).sum() - 254) < 5 * (2 * 254) ** 0.5  # chi-square with 254 degrees of freedom


@pytest.mark.parametrize("top", [1, 16, 127])
def test_greys_that_do_not_go_to_255(top, digits):
    """Fixed bits, scikit-learn's digits: drawn as bits, or as a picture, they would be nearly blank."""
    x = (digits.x_test[:9] / 255 * top).round().byte()
    pad = DigitExplorer(VAE(d_z=3, hidden=(4,)), digits)
    uses = (data.binarize, lambda x: figures.digit_grid(x, 3, alt="digits"), lambda x: setattr(pad, "image", x.amax(0)))
    for use in uses:
        with pytest.warns(UserWarning, match=f"from 0 to 255; the largest is {top}"):
            use(x)
        with warnings.catch_warnings(action="error"):
            use(digits.x_test[:9])
            use(torch.zeros_like(x))


def test_a_warning_is_shown_once_for_each_line_of_the_caller(tmp_path):
    """As Python shows warnings by default, in a process without the tests' import hook."""
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "from vaecore import data, evaluate\n"
        "from vaecore.vae import VAE\n"
        "vae, grey = VAE(4, 2, (3,)), torch.ones(2, 4, dtype=torch.uint8)\n"
        "data.binarize(grey)\n"
        "for _ in range(2):\n"
        "    data.binarize(grey)\n"
        "evaluate.elbo(vae, grey / 2)\n"
        "evaluate.log_evidence(vae, grey / 2)\n"
    )
    shown = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stderr
    assert [int(line) for line in re.findall(r"script.py:(\d+): UserWarning", shown)] == [5, 7, 8, 9]


def test_binarize_draws_again_at_each_call(digits):
    x = digits.x_test
    torch.manual_seed(1)
    first, second = data.binarize(x), data.binarize(x)
    assert first.dtype == torch.float32 and first.shape == x.shape and first.unique().tolist() == [0, 1]
    grey = (x > 0) & (x < 255)
    assert (first != second)[grey].any() and (first == second)[~grey].all()
    torch.manual_seed(1)
    assert torch.equal(data.binarize(x), first)


def test_batches_are_one_shuffled_epoch():
    x = torch.arange(1000).reshape(-1, 1)
    y = 3 * x.flatten()
    torch.manual_seed(2)
    epoch = list(data.batches(128, x, y))
    assert [len(rows) for rows, _ in epoch] == [128] * 7 + [104]
    rows = torch.cat([rows for rows, _ in epoch])
    assert not torch.equal(rows, x) and torch.equal(rows.sort(0).values, x)
    assert all(torch.equal(batch[1], 3 * batch[0].flatten()) for batch in epoch)
    assert not torch.equal(torch.cat([rows for (rows,) in data.batches(128, x)]), rows)
