"""Reading MNIST's files, each kind of damage to them, and what becomes of a pixel."""

import dataclasses
import gzip

import numpy as np
import pytest
import torch
from mirror import FILES, HTML, PACKAGED, contents, flip, garments, idx, whole_mnist, write
from torchvision import datasets

from vaecore import data

WHOLE = whole_mnist()
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def tensors(digits: data.Digits) -> list[torch.Tensor]:
    return [digits.x_train, digits.y_train, digits.x_test, digits.y_test]


# ---- The digits that travel along, and the layouts


@pytest.fixture(scope="module")
def packaged() -> data.Digits:
    return data.mnist(root=PACKAGED)


def test_packaged_digits(packaged):
    assert [tuple(tensor.shape) for tensor in tensors(packaged)] == [(8000, 784), (8000,), (2000, 784), (2000,)]
    assert [tensor.dtype for tensor in tensors(packaged)] == [torch.uint8, torch.int64] * 2
    images = {bytes(row.tolist()) for row in torch.cat([packaged.x_train, packaged.x_test])}
    assert len(images) == 10_000  # none twice, so none both to train and to test on
    share = packaged.y_test.bincount() / (packaged.y_train.bincount() + packaged.y_test.bincount())
    assert (share - 0.2).abs().max() < 0.05


def test_packaged_digits_are_the_first_10000_of_mnist(packaged):
    x, y = torch.cat([packaged.x_train, packaged.x_test]), torch.cat([packaged.y_train, packaged.y_test])
    assert y.bincount().tolist() == [
        1001,
        1127,
        991,
        1032,
        980,
        863,
        1014,
        1070,
        944,
        978,
    ]  # as in MNIST's first 10,000
    if WHOLE:
        whole = data.mnist(root=WHOLE)
        ours, theirs = (
            {(bytes(row), int(label)) for row, label in zip(images.numpy(), labels, strict=True)}
            for images, labels in ((x, y), (whole.x_train[:10_000], whole.y_train[:10_000]))
        )
        assert ours == theirs


@pytest.mark.parametrize("layout", ["plain", "gz", "gz that was unpacked on its way"])
def test_layouts_read_as_torchvision_reads_them(layout, tmp_path, packaged):
    plain = contents(PACKAGED)
    stored = {
        "plain": plain,
        "gz": {f"{file}.gz": gzip.compress(plain[file], 1) for file in FILES},
        "gz that was unpacked on its way": {f"{file}.gz": plain[file] for file in FILES},
    }[layout]
    ours = data.mnist(root=str(write(tmp_path / "ours", stored)))
    write(tmp_path / "theirs", plain)
    for train, x, y in ((True, ours.x_train, ours.y_train), (False, ours.x_test, ours.y_test)):
        theirs = datasets.MNIST(tmp_path / "theirs", train=train)
        torch.testing.assert_close(x, theirs.data.reshape(-1, 784), rtol=0, atol=0)
        torch.testing.assert_close(y, theirs.targets, rtol=0, atol=0)


def test_variable_points_at_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VAECORE_DATA", str(PACKAGED))
    assert len(data.mnist().x_train) == 8000
    monkeypatch.setenv("VAECORE_DATA", str(tmp_path / "nothing here"))
    with pytest.raises(FileNotFoundError, match="nothing here/MNIST/raw/train-images-idx3-ubyte is missing"):
        data.mnist()
    assert len(data.mnist(root=PACKAGED).x_train) == 8000  # the argument goes before the variable


@pytest.mark.parametrize(
    "root", [PACKAGED, *([WHOLE] if WHOLE else [])], ids=lambda root: "packaged" if root == PACKAGED else "whole"
)
def test_repr_says_which_data(root):
    digits = data.mnist(root=root)
    packaged = "MNIST: 8,000 training and 2,000 test digits of the 10,000 that travel with vaecore, on cpu"
    assert repr(digits) == (packaged if root == PACKAGED else "MNIST: 60,000 training and 10,000 test digits, on cpu")
    assert digits.is_full == (root != PACKAGED) and digits.shape == (28, 28)


@pytest.mark.parametrize("device", [*DEVICES, "meta"])  # meta is on every machine, and is not the CPU
def test_device(device):
    digits = data.mnist(root=PACKAGED, device=device)
    assert {tensor.device.type for tensor in tensors(digits)} == {device}
    assert f", on {device}" in repr(digits) and "\n" not in repr(digits)


# ---- Wrong arguments and damaged files: one sentence


def test_unknown_name():
    with pytest.raises(ValueError, match=r"name must be .* MNIST, FashionMNIST, KMNIST; got 'CIFAR10'\.$"):
        data.mnist("CIFAR10")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "", "mtia"])
def test_device_that_is_not_there(device):
    with pytest.raises(ValueError, match=rf"device must be a device that is there \(cpu.*\); got {device!r}\.$"):
        data.mnist(root=PACKAGED, device=device)


DAMAGE = {  # what is done to which file, and what the sentence says of it
    "plain file cut off": (FILES[0], lambda s: s[:-100], r"has 6,271,916 bytes where its header promises 6,272,016"),
    "plain file too long": (FILES[2], lambda s: s + b"\0", r"has 1,568,017 bytes where its header promises 1,568,016"),
    "cut off in the header": (FILES[0], lambda s: s[:10], r"is no idx file of images \(it begins with b'"),
    "empty": (FILES[3], lambda s: b"", r"is no idx file of labels \(it begins with b''\)"),
    "web page": (FILES[0], lambda s: HTML, r"is no idx file of images \(it begins with b'<!DOCTYP'\)"),
    "images for labels": (FILES[1], lambda s: idx(5, 28, 28), r"is no idx file of labels"),
    "labels for images": (FILES[2], lambda s: idx(5), r"is no idx file of images"),
    "32-bit integers": (FILES[0], lambda s: b"\0\0\x0c\x03" + s[4:], r"is no idx file of images"),
    "other shape": (FILES[0], lambda s: idx(100, 14, 56), r"holds images of 14 x 56 pixels, not 28 x 28"),
    "no images": (FILES[0], lambda s: idx(0, 28, 28), r"has another checksum than MNIST's"),
    "fewer labels": (FILES[1], lambda s: idx(7999), r"holds 7,999 labels for 8,000 images"),
    "label 17": (FILES[1], lambda s: idx(8000, fill=17), r"holds the label 17, not only 0 to 9"),
    "other images": (FILES[2], lambda s: idx(2000, 28, 28), r"has another checksum than MNIST's"),
    "other labels": (FILES[3], lambda s: idx(2000, fill=3), r"has another checksum than MNIST's"),
    "one pixel's bit": (FILES[0], flip, r"has another checksum than MNIST's"),
    "gz cut off": (FILES[0], lambda s: gzip.compress(s, 1)[:-5000], r"is a damaged gzip file \(Compressed file ended"),
    "gz cut to its header": (FILES[0], lambda s: gzip.compress(s, 1)[:7], r"is a damaged gzip file"),
    "gz of another": (FILES[2], lambda s: gzip.compress(s[:5000]), r"has 5,000 bytes where its header promises"),
    "gz with a flipped bit": (FILES[0], lambda s: flip(gzip.compress(s, 1)), r"is a damaged gzip file"),
    "gz with rubbish in it": (FILES[0], lambda s: gzip.compress(s, 1)[:10] + HTML, r"is a damaged gzip file"),
    "gz with rubbish after it": (FILES[1], lambda s: gzip.compress(s, 1) + b"rubbish", r"is a damaged gzip file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file(damage, tmp_path):
    file, change, sentence = DAMAGE[damage]
    stored = contents(PACKAGED)
    stored[file] = change(stored[file])
    with pytest.raises(ValueError, match=sentence) as caught:
        data.mnist(root=write(tmp_path, stored))
    assert str(caught.value).startswith(str(tmp_path / "MNIST" / "raw" / file))
    assert str(caught.value).endswith(
        "; put a good copy there, or leave out root and unset $VAECORE_DATA to have it downloaded"
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", FILES)
def test_missing_file(file, tmp_path):
    stored = contents(PACKAGED)
    del stored[file]
    with pytest.raises(
        FileNotFoundError, match=rf"/MNIST/raw/{file} is missing \(and so is its .gz\); put a good copy"
    ):
        data.mnist(root=write(tmp_path, stored))


def test_sets_are_not_mixed(monkeypatch):
    """The packaged test digits are training digits of the whole MNIST: together they would make a leak."""
    other = dict.fromkeys(FILES, "another sum")
    sums = data.PACKAGED_SHA256
    monkeypatch.setattr(data, "SHA256", {**other, **{file: sums[file] for file in FILES[:2]}})
    monkeypatch.setattr(data, "PACKAGED_SHA256", {**other, **{file: sums[file] for file in FILES[2:]}})
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte.gz has another checksum"):
        data.mnist(root=PACKAGED)


# ---- The other two names, from a folder


@pytest.mark.parametrize(
    ("file", "stored", "sentence"),
    [
        (FILES[0], idx(59_999, 28, 28), "holds 59,999 entries, not the 60,000 of FashionMNIST"),
        (FILES[1], idx(59_999), "holds 59,999 labels for 60,000 images"),
        (FILES[2], idx(60_000, 28, 28), "holds 60,000 entries, not the 10,000 of FashionMNIST"),
        (FILES[3], idx(10_000, fill=10), "holds the label 10, not only 0 to 9"),
        (FILES[0], idx(0, 28, 28), "holds 0 entries, not the 60,000 of FashionMNIST"),
    ],
)
def test_other_names_are_checked_by_size(file, stored, sentence, tmp_path):
    root = write(tmp_path, {**garments(), file: stored}, "FashionMNIST")
    with pytest.raises(ValueError, match=f"FashionMNIST/raw/{file} {sentence}; put a good copy there"):
        data.mnist("FashionMNIST", root=root)


# ---- What becomes of a pixel


def test_fingerprint_sees_every_tensor(packaged):
    seen = {data.fingerprint(packaged), data.fingerprint(data.mnist(root=PACKAGED))}
    assert len(seen) == 1
    for field in ("x_train", "y_train", "x_test", "y_test"):
        changed = getattr(packaged, field).clone()
        changed[-1:] ^= 1
        seen.add(data.fingerprint(dataclasses.replace(packaged, **{field: changed})))
    assert len(seen) == 5


@pytest.mark.parametrize("device", DEVICES)
def test_binarize_every_level(device):
    """Each of the 256 levels x is 1 with probability x / 255, so nearly that x / 256 would be seen to be wrong."""
    torch.manual_seed(0)
    x = torch.arange(256, dtype=torch.uint8, device=device).repeat(10_000, 1)
    rounds = 20
    ones = sum(data.binarize(x).sum(0, dtype=torch.float64) for _ in range(rounds)).cpu()
    n, p = rounds * len(x), torch.arange(256, dtype=torch.float64) / 255
    assert ones[0] == 0 and ones[255] == n
    z = ((ones - n * p) / (n * p * (1 - p)).sqrt())[1:255]
    assert z.abs().max() < 5
    assert abs((z**2).sum() - 254) < 5 * (2 * 254) ** 0.5  # chi-square with 254 degrees of freedom


@pytest.mark.parametrize("device", DEVICES)
def test_binarize_draws_bits_anew(device, packaged):
    x = packaged.x_test.to(device)
    torch.manual_seed(1)
    first, second = data.binarize(x), data.binarize(x)
    assert first.dtype == torch.float32 and first.device == x.device and first.shape == x.shape
    assert first.unique().tolist() == [0, 1]
    grey = (x > 0) & (x < 255)
    assert (first != second)[grey].any() and (first == second)[~grey].all()
    torch.manual_seed(1)
    assert torch.equal(data.binarize(x), first)


@pytest.mark.parametrize("x", [torch.rand(2, 784), torch.zeros(2, 784, dtype=torch.int64), np.zeros(4, np.uint8), [0]])
def test_binarize_wants_bytes(x):
    with pytest.raises(TypeError, match=r"^x must be a (uint8 )?Tensor.*; got .*\.$"):
        data.binarize(x)


@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_one_shuffled_epoch(device):
    x = torch.arange(1000, device=device).reshape(-1, 1)
    y = 3 * x.flatten()
    torch.manual_seed(2)
    epoch = list(data.batches(128, x, y))
    assert [len(rows) for rows, _ in epoch] == [128] * 7 + [104]
    seen = torch.cat([rows for rows, _ in epoch])
    assert not torch.equal(seen, x) and torch.equal(seen.sort(0).values, x)
    assert all(isinstance(batch, tuple) and torch.equal(batch[1], 3 * batch[0].flatten()) for batch in epoch)
    assert not torch.equal(torch.cat([rows for (rows,) in data.batches(128, x)]), seen)
    torch.manual_seed(2)
    assert torch.equal(torch.cat([rows for (rows,) in data.batches(1000, x)]), seen)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "128", None])
def test_batches_wants_a_batch_size(batch_size):
    with pytest.raises((TypeError, ValueError), match=f"^batch_size must be .*; got {batch_size!r}"):
        data.batches(batch_size, torch.zeros(3))  # told at once, not at the first batch


def test_batches_wants_equal_lengths():
    with pytest.raises(ValueError, match=r"one length and one device; got 3 rows on cpu, 4 rows on cpu\.$"):
        data.batches(2, torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match=r"one length and one device; got 3 rows on cpu, 3 rows on meta\.$"):
        data.batches(2, torch.zeros(3), torch.zeros(3, device="meta"))
    with pytest.raises(ValueError, match="got no tensor"):
        data.batches(2)
