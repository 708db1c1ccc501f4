"""Pictures of one's own: thirty files as people have them, folders, and files of arrays."""

import gzip
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vaecore import own
from vaecore.data import Pictures, mnist

SIDE = 64


def drawing(dark=0, light=255):
    """A thick L of ink, upright, left of the middle."""
    picture = Image.new("L", (SIDE, SIDE), light)
    pen = ImageDraw.Draw(picture)
    pen.line([(16, 8), (16, 54), (44, 54)], fill=dark, width=6)
    return picture


def what_it_shows():
    """The drawing as it should be read: ink 255 on paper 0, 28 x 28."""
    ink = Image.fromarray(255 - np.asarray(drawing()))
    return np.asarray(ink.resize((28, 28), Image.Resampling.LANCZOS), np.float32)


def photograph():
    """Something in colour: red to the right, green downwards, some blue."""
    line = np.linspace(0, 255, SIDE).astype(np.uint8)
    red, green = np.meshgrid(line, line)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], -1))


def with_exif(turn):
    picture = drawing().transpose({6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[turn])
    exif = picture.getexif()
    exif[0x112] = turn
    return picture, dict(exif=exif)


def transparent(ink, mode="RGBA"):
    alpha = Image.fromarray(255 - np.asarray(drawing()))
    picture = Image.new("RGBA", (SIDE, SIDE), (ink, ink, ink, 0))
    picture.putalpha(alpha)
    return picture.convert(mode)


def palette():
    picture = drawing().convert("RGB").quantize(8)
    return picture


def sixteen_bits():
    return Image.fromarray(np.asarray(drawing(), np.uint16) * 257)


def floats(top):
    return Image.fromarray(np.asarray(drawing(), np.float32) / 255 * top)


DRAWINGS = {  # the file and what it takes to save it
    "scan.png": lambda: (drawing(), {}),
    "scan.jpg": lambda: (drawing(), dict(quality=95)),
    "scan.JPEG": lambda: (drawing(), dict(format="JPEG", quality=95)),
    "scan.bmp": lambda: (drawing(), {}),
    "scan.webp": lambda: (drawing(), dict(lossless=True)),
    "telephone.jpg": lambda: with_exif(6),
    "upside_down.jpg": lambda: with_exif(3),
    "dim_room.jpg": lambda: (drawing(dark=40, light=140), dict(quality=95)),
    "blackboard.png": lambda: (drawing(dark=255, light=30), {}),
    "tablet.png": lambda: (transparent(0), {}),
    "tablet_dark.png": lambda: (transparent(255), {}),
    "grey_alpha.png": lambda: (transparent(0, "LA"), {}),
    "screenshot.png": lambda: (drawing().convert("RGBA"), {}),
    "indexed.png": lambda: (palette(), {}),
    "one_bit.png": lambda: (drawing().convert("1"), {}),
    "one_bit.tif": lambda: (drawing().convert("1"), dict(compression="group4")),
    "scan_16.png": lambda: (sixteen_bits(), {}),
    "scan_16.tif": lambda: (sixteen_bits(), {}),
    "float_1.tif": lambda: (floats(1), {}),
    "float_255.tif": lambda: (floats(255), {}),
    "print.jpg": lambda: (drawing().convert("CMYK"), dict(quality=95)),
    "still.gif": lambda: (drawing(), {}),
    "moving.gif": lambda: (drawing(), dict(save_all=True, append_images=[Image.new("L", (SIDE, SIDE), 0)])),
    "large.png": lambda: (drawing().resize((1600, 1600)), {}),
    "no_suffix": lambda: (drawing(), dict(format="PNG")),
    "lies.png": lambda: (drawing(), dict(format="JPEG", quality=95)),
    "naïve 名前.png": lambda: (drawing(), {}),
}
BROKEN = {
    "half.jpg": lambda: saved("scan.jpg")[:500],
    "half.png": lambda: saved("scan.png")[:100],
    "empty.png": lambda: b"",
    "words.png": lambda: b"this is no picture",
    "telephone.heic": lambda: b"\0\0\0\x18ftypheic",
    "notes.txt": lambda: b"first drawing: L",
    "huge_floats.tif": lambda: bytes_of(floats(1e6), dict(format="TIFF")),
}


def bytes_of(picture, how):
    import io

    buffer = io.BytesIO()
    picture.save(buffer, **how)
    return buffer.getvalue()


def saved(name):
    picture, how = DRAWINGS[name]()
    return bytes_of(picture, dict(format="JPEG" if name.endswith("jpg") else "PNG") | how)


def save(name, folder):
    folder.mkdir(parents=True, exist_ok=True)
    picture, how = DRAWINGS[name]()
    picture.save(folder / name, **how)


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_read_as_ink_on_paper_whatever_file_it_is(name, tmp_path):
    for i in range(2):  # one to train and one to test on
        save(name, tmp_path / "L")
        (tmp_path / "L" / name).rename(tmp_path / "L" / f"{i}{name}")
    found = own.folder(tmp_path, test=0.5)
    for pixels in (found.x_train, found.x_test):
        read = pixels.reshape(28, 28).numpy().astype(np.float32)
        assert np.abs(read - what_it_shows()).mean() < 8
    assert found.classes == ("L",) and found.y_train.tolist() == [0]


def test_what_cannot_be_read_is_named_and_the_rest_is_read(tmp_path):
    names = ["scan.png", "scan.jpg", "tablet.png"]
    for name in names:
        save(name, tmp_path)
    for name, contents in BROKEN.items():
        (tmp_path / name).write_bytes(contents())
    found = own.folder(tmp_path)
    assert len(found.x_train) + len(found.x_test) == len(names)
    assert found.classes == () and found.y_train.eq(0).all()
    assert repr(found).count("left out: ") == len(BROKEN)
    for name in BROKEN:
        assert name in repr(found)


def test_many_unreadable_files_are_counted_and_some_named(tmp_path):
    save("scan.png", tmp_path)
    save("scan.jpg", tmp_path)
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    assert repr(own.folder(tmp_path)).count("left out: ") == 9 and "left out: 12 more" in repr(own.folder(tmp_path))


def test_every_decision_is_counted(tmp_path):
    for name in DRAWINGS:
        save(name, tmp_path)
    text = repr(own.folder(tmp_path))
    for words in ("2 turned upright", "2 light on dark", "of several frames", "of more than 8 bits", "transparent"):
        assert words in text


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in ("scan.png", "tablet.png"):
        save(name, tmp_path / "1")
    for place in (".ipynb_checkpoints", "__MACOSX", "empty"):
        (tmp_path / place).mkdir()
    (tmp_path / "__MACOSX" / "._scan.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "1" / "._scan.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "1" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "1" / "Thumbs.db").write_bytes(b"\0")
    found = own.folder(str(tmp_path))
    assert found.classes == ("1",) and "left out" not in repr(found)


def test_classes_are_in_natural_order_and_keep_their_names(tmp_path):
    for name in ("10", "2", "1", "b", "a", "Cat"):
        save("scan.png", tmp_path / name)
    found = own.folder(tmp_path, test=0.3)
    assert found.classes == ("1", "2", "10", "a", "b", "Cat")
    assert sorted([*found.y_train.tolist(), *found.y_test.tolist()]) == list(range(6))


def test_train_and_test_folders_are_kept_apart(tmp_path):
    for part, names in (("train", ("scan.png", "scan.jpg", "tablet.png")), ("test", ("blackboard.png",))):
        for name in names:
            save(name, tmp_path / part / "L")
    save("dim_room.jpg", tmp_path / "test" / "other")
    found = own.folder(tmp_path)
    assert (len(found.x_train), len(found.x_test)) == (3, 2)
    assert found.classes == ("L", "other") and found.y_train.eq(0).all()
    assert sorted(found.y_test.tolist()) == [0, 1]


def test_files_in_folders_of_folders_are_found(tmp_path):
    save("scan.png", tmp_path / "L" / "2024" / "may")
    save("scan.jpg", tmp_path / "L")
    assert len(own.folder(tmp_path).x_train) == 1


def test_colour_is_kept_and_nothing_is_turned_inside_out(tmp_path):
    for i in range(2):
        photograph().save(tmp_path / f"{i}.png")
    found = own.folder(tmp_path, (16, 16), 3)
    assert found.shape == (3, 16, 16)
    red, green, blue = found.x_train.reshape(3, 16, 16).float()
    assert (red.diff(dim=1) > 0).all() and (green.diff(dim=0) > 0).all()
    assert (blue - 60).abs().max() < 2 and red.mean() > 100


def test_a_grey_photograph_is_left_as_it_is_without_ink(tmp_path):
    for i in range(2):
        photograph().convert("L").save(tmp_path / f"{i}.png")
    bright = own.folder(tmp_path, (SIDE, SIDE), ink=False).x_train
    assert (bright.reshape(SIDE, SIDE).numpy() == np.asarray(photograph().convert("L"))).all()


@pytest.mark.parametrize(("size", "inner"), [((90, 30), (9, 33)), ((30, 90), (33, 9))])
def test_a_wide_or_high_picture_is_padded_and_not_squeezed(size, inner, tmp_path):
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).rectangle([4, 4, size[0] - 5, size[1] - 5], fill="red")
    for i in range(2):
        picture.save(tmp_path / f"{i}.png")
    found = own.folder(tmp_path, (36, 36), 3)
    red = found.x_train.reshape(3, 36, 36)[1] < 128  # no green there
    rows, columns = red.any(1).sum().item(), red.any(0).sum().item()
    assert abs(rows - inner[0]) <= 1 and abs(columns - inner[1]) <= 1
    assert "2 padded" in repr(found)
    assert found.x_train.reshape(3, 36, 36)[:, 0, 0].tolist() == [255, 255, 255]


def test_an_empty_sheet_is_paper(tmp_path):
    noise = np.random.default_rng(0).integers(200, 206, (SIDE, SIDE)).astype(np.uint8)
    for i in range(2):
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    found = own.folder(tmp_path)
    assert found.x_train.eq(0).all() and "2 without ink" in repr(found)


def test_the_split_is_repeatable_and_has_its_share(tmp_path):
    for i in range(10):
        Image.new("L", (4, 4), 20 * i + 10).save(tmp_path / f"{i}.png")
    first, again, other = (own.folder(tmp_path, (4, 4), ink=False, test=0.3, seed=seed) for seed in (0, 0, 1))
    assert (len(first.x_train), len(first.x_test)) == (7, 3)
    assert first.x_train.equal(again.x_train) and not first.x_train.equal(other.x_train)


BAD = {
    "no folder": (lambda p: own.folder(p / "missing"), FileNotFoundError, "must be a folder"),
    "a file": (lambda p: own.folder(p / "scan.png"), FileNotFoundError, "must be a folder"),
    "one picture": (lambda p: own.folder(p), ValueError, "two pictures, one to test on"),
    "channels": (lambda p: own.folder(p, channels=4), ValueError, "channels"),
    "ink in colour": (lambda p: own.folder(p, channels=3, ink=True), ValueError, "ink"),
    "all to test": (lambda p: own.folder(p, test=1), ValueError, "test"),
    "no height": (lambda p: own.folder(p, (0, 28)), ValueError, "height"),
    "no file": (lambda p: own.file(p / "digits.csv"), FileNotFoundError, "must be a file"),
    "no array": (lambda p: own.file(p / "scan.png"), ValueError, "must end in"),
}


@pytest.mark.parametrize("call", BAD)
def test_bad_calls_say_what_is_wrong(call, tmp_path):
    save("scan.png", tmp_path)
    action, kind, words = BAD[call]
    with pytest.raises(kind, match=words):
        action(tmp_path)


# --- files of arrays ------------------------------------------------------------------------------------------------


X = np.random.default_rng(0).integers(0, 256, (20, 6, 6)).astype(np.uint8)
Y = np.arange(20) % 4


def write_idx(path, array, pack=False):
    contents = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(contents) if pack else contents)


def check(found: Pictures, x_test, x_train=None):
    assert found.x_test.numpy().reshape(x_test.shape).tolist() == x_test.tolist()
    if x_train is not None:
        assert found.x_train.numpy().reshape(x_train.shape).tolist() == x_train.tolist()


def test_npz_as_keras_has_it(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=X[:15], y_train=Y[:15], x_test=X[15:], y_test=Y[15:, None])
    found = own.file(tmp_path / "mnist.npz")
    check(found, X[15:], X[:15])
    assert found.y_test.tolist() == Y[15:].tolist() and found.shape == (6, 6)


def test_npz_in_colour(tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (8, 4, 5, 3)).astype(np.uint8)
    np.savez(tmp_path / "c.npz", x_train=x[:6], y_train=Y[:6], x_test=x[6:], y_test=Y[:2])
    found = own.file(tmp_path / "c.npz")
    assert found.shape == (3, 4, 5)
    assert found.x_test.reshape(2, 3, 4, 5)[1, 2, 3, 4] == x[7, 3, 4, 2]


@pytest.mark.parametrize("head", [True, False])
def test_csv_as_kaggle_has_it(head, tmp_path):
    rows = np.concatenate([Y[:, None], X.reshape(20, 36)], axis=1)
    names = "label," + ",".join(f"pixel{i}" for i in range(36)) if head else ""
    np.savetxt(tmp_path / "train.csv", rows, "%d", ",", header=names, comments="")
    found = own.file(tmp_path / "train.csv", test=0.25)
    check(found, X[15:], X[:15])
    assert found.y_train.tolist() == Y[:15].tolist()


@pytest.mark.parametrize("pack", [True, False])
def test_emnist_is_turned(pack, tmp_path):
    end = ".gz" * pack
    for part, rows in (("train", slice(15)), ("test", slice(15, None))):
        write_idx(tmp_path / f"emnist-byclass-{part}-images-idx3-ubyte{end}", X[rows].swapaxes(1, 2), pack)
        write_idx(tmp_path / f"emnist-byclass-{part}-labels-idx1-ubyte{end}", Y[rows] + 58, pack)
    found = own.file(tmp_path / f"emnist-byclass-train-images-idx3-ubyte{end}")
    check(found, X[15:], X[:15])
    assert found.y_train.tolist() == (Y[:15] + 58).tolist()


def test_greys_to_another_top_are_scaled_only_if_asked(tmp_path):
    x = (X // 16).astype(np.uint8)  # as scikit-learn's digits, but to 15
    np.savez(tmp_path / "d.npz", x_train=x[:15], y_train=Y[:15], x_test=x[15:], y_test=Y[15:])
    with pytest.raises(ValueError, match="top=15"):
        own.file(tmp_path / "d.npz")
    check(own.file(tmp_path / "d.npz", top=15), x[15:] * 17, x[:15] * 17)
    with pytest.raises(ValueError, match="not 0 to top=10"):
        own.file(tmp_path / "d.npz", top=10)


FAULTS = {
    "other names": (dict(images=X, labels=Y), "lacks x_train"),
    "lengths": (dict(x_train=X, y_train=Y[:3], x_test=X, y_test=Y), "3 classes for 20 pictures"),
    "negative": (dict(x_train=X.astype(int) - 128, y_train=Y, x_test=X, y_test=Y), "from -128"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_npz_is_refused_in_one_sentence(fault, tmp_path):
    arrays, words = FAULTS[fault]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        own.file(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n1,2\n", "first column"), ("label,p\n1,x\n", "no table"), ("1,2,3,4\n2,3,4,5\n", "pixels of a square")],
)
def test_a_faulty_csv_is_refused_in_one_sentence(text, words, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        own.file(tmp_path / "t.csv")


def test_a_missing_or_damaged_idx_file_is_named(tmp_path):
    write_idx(tmp_path / "emnist-train-images-idx3-ubyte", X)
    with pytest.raises(FileNotFoundError, match="emnist-train-labels-idx1-ubyte is missing"):
        own.file(tmp_path / "emnist-train-images-idx3-ubyte")
    (tmp_path / "emnist-train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01")
    with pytest.raises(ValueError, match="labels-idx1-ubyte is no idx file"):
        own.file(tmp_path / "emnist-train-images-idx3-ubyte")


def test_reading_says_nothing_on_its_own(tmp_path):
    for name in DRAWINGS:
        save(name, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(own.folder(tmp_path).x_train)


@pytest.mark.parametrize("name", ["train.csv", "mnist.npz", "emnist-letters-train-images-idx3-ubyte.gz"])
def test_where_mnist_is_in_another_form_its_reader_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=rf"holds {name}.*own\.file reads"):
        mnist(root=tmp_path)
