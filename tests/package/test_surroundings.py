"""What the process and the machine may be: places that cannot be written, batch systems, threads, others' settings."""

import os
import pwd
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import matplotlib
import pytest
import torch
from small_runs import epochs_saved, images, tiny, train, weights

from vaecore import checkpoints, devices, download, evaluate, figures, processes, runs, splits
from vaecore.explorer import (
    AnalogiesExplorer,
    ClassesExplorer,
    CompletionExplorer,
    DigitExplorer,
    GapExplorer,
    LatentExplorer,
)
from vaecore.m2 import M2
from vaecore.seeds import seeded
from vaecore.train import fit
from vaecore.vae import VAE, Regressor

# ---- Places


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home, an empty folder to work in, and the temporary folder of a process that has just begun."""
    for name in ("home", "work", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "work")
    download._temporary_place.cache_clear()
    yield tmp_path
    download._temporary_place.cache_clear()
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    "named, expected",
    [
        ("{}/mine", "mine/vaecore/MNIST/raw"),
        ("", "home/.cache/vaecore/MNIST/raw"),
        ("~/there", "home/there/vaecore/MNIST/raw"),
        ("cache", "home/.cache/vaecore/MNIST/raw"),
        ("~nobody at all/cache", "home/.cache/vaecore/MNIST/raw"),
        ("/dev/null", "home/.cache/vaecore/MNIST/raw"),
    ],
)
def test_the_cache_is_the_users(named, expected, home, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", named.format(home))
    assert download.cache_folder("MNIST", "raw") == home / expected
    assert caplog.messages == []


@pytest.mark.parametrize("without", ["a home that can be written", "HOME, of a user nobody knows"])
def test_without_a_cache_there_is_a_temporary_one(without, home, monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if without.startswith("HOME"):
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # raises KeyError, as it does for such a user
    else:
        monkeypatch.setenv("HOME", "/dev/null")
    folder = download.cache_folder("runs")
    assert folder.is_relative_to(home / "tmp") and download.cache_folder("runs") == folder
    assert len(caplog.messages) == 1 and str(folder.parents[1]) in caplog.text


def test_what_a_cache_holds_is_read_where_nothing_can_be_written(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "mine"))
    path = download.cache_folder("runs", "a")
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(os, "access", lambda *args: False)
    assert download.cache_folder("runs", "a") == path
    assert download.cache_folder("runs", "b").is_relative_to(home / "tmp")


def test_a_tilde_is_the_home(home):
    model = tiny()
    train(model, "~/run", epochs=1)
    assert epochs_saved(home / "home" / "run") == 1 and weights(checkpoints.load("~/run")[0]) == weights(model)
    train(model, "~/run", epochs=1)


def test_a_checkpoint_stays_where_it_was_asked_for(home, monkeypatch):
    monkeypatch.chdir(home / "home")
    train(tiny(), "run", lambda: os.chdir(home / "work"))
    assert epochs_saved(home / "home" / "run") == 3


def test_a_missing_checkpoint_says_what_is_there(home):
    checkpoints.save(home / "home" / "m1.safetensors", tiny())
    with pytest.raises(FileNotFoundError, match=r"holds m1\.safetensors"):
        checkpoints.load(home / "home" / "m1")


# ---- Batch systems


def test_a_batch_system_is_not_torchrun(tmp_path, monkeypatch):
    """SLURM, MPI and others number their jobs, which know nothing of each other, with the same variables."""
    for variable, value in dict(RANK="3", LOCAL_RANK="3", WORLD_SIZE="4").items():
        monkeypatch.setenv(variable, value)
    train(tiny(), tmp_path / "run", epochs=1)
    assert epochs_saved(tmp_path / "run") == 1 and processes.count() == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.pick_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert devices.pick_device("auto") == torch.device("cuda", 3)
    assert processes.count() == 4 and not processes.is_first()


def test_the_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5, 9}, raising=False)
    assert devices.n_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert devices.n_cores() == 64


# ---- Others' settings


@contextmanager
def defaults(kind: str):
    """torch's own defaults as some readers set them; the device "meta" stands for a GPU that this machine lacks."""
    if kind == "float64":
        torch.set_default_dtype(torch.float64)
    else:
        torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def explorers(digits) -> list:
    with torch.device("cpu"):
        flat, deep, wide = VAE(d_z=2, hidden=(8,)), VAE(d_z=3, hidden=(8,)), VAE(d_z=2, hidden=(700,))
        m2, left, regressor = M2(d_z=2, hidden=(8,)), VAE(392, 2, (8,), 392), Regressor(392, 392, (8,))
        grid = torch.arange(-12, 12.01, 0.05, dtype=torch.float64)
    return [
        LatentExplorer(flat, digits),
        LatentExplorer(deep, digits),
        LatentExplorer(wide),  # whose weights are rounded
        LatentExplorer(decode=lambda z: flat.decode(z).mean, d_z=2),
        DigitExplorer(flat, digits),
        ClassesExplorer(m2, digits),
        AnalogiesExplorer(m2, digits),
        CompletionExplorer(dict(left=left), digits, regressors=dict(left=regressor)),
        GapExplorer(grid, -(grid**2) - 3),
    ]


@pytest.mark.parametrize("kind", ["float64", "meta"])
def test_other_defaults_of_torch(kind, digits, tmp_path):
    plain = [splits.pixel_split("left")[0], *splits.label_split(digits.y_train, 100, seed=0)]
    trained, x, blank = tiny(), images(), torch.zeros(1, 784)
    with defaults(kind):
        for explorer in explorers(digits):
            assert "<svg" in explorer.fragment()
        same = [splits.pixel_split("left")[0], *splits.label_split(digits.y_train, 100, seed=0)]
        model = checkpoints.load(runs.WEIGHTS / runs.checkpoint_of(runs.EXPERIMENTS["m1m2-book"]).name)[0]
        figures.digit_grid(model.analogies(blank)[0], 10, alt="x")
        assert evaluate.spread([1.0, 3.0]).mean == 2
        settings = dict(epochs=1, checkpoint=tmp_path / "run", test=lambda: evaluate.elbo(trained, x).mean())
        fit(trained, lambda x: -trained.elbo(x).mean(), x, **settings)
    assert all(torch.equal(*pair) for pair in zip(plain, same, strict=True))


def test_a_model_of_float64(tmp_path):
    with defaults("float64"):
        train(model := tiny(), tmp_path / "run", epochs=1)
    assert next(model.parameters()).dtype == torch.float64


def test_where_gradients_are_off_a_training_has_them():
    expected, model = tiny(), tiny()
    train(expected)
    with torch.no_grad():
        train(model)
        assert devices.layer_seconds(8, 8, 4)
    assert weights(model) == weights(expected)


def test_trainings_in_threads_are_those_of_one(tmp_path):
    """All threads draw from one random state, so blocks with a seed take turns."""
    expected = []
    for seed in range(3):
        train(model := tiny(seed), seed=seed)
        expected.append(weights(model))
    models = [tiny(seed) for seed in range(3)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda seed: train(models[seed], seed=seed), range(3)))
    assert [weights(model) for model in models] == expected and torch.equal(torch.get_rng_state(), before)
    with seeded(1), seeded(2):  # nor does a thread wait for itself
        pass


def test_a_readers_style_is_kept_and_changes_no_picture(digits):
    def pictures() -> list[str]:
        figure, ax = figures.axes()
        ax.plot([0, 1], [0, 1], label="a line")
        ax.legend()
        ax.text(0, 0, "a word")
        found = [figures.picture(figure, "x"), figures.digit_grid(digits.x_test[:6], 3, "x")]
        found.append(figures.curves([1, 2], {"a": [1, 2]}, "", "", "x"))
        return [re.sub(r"p\d+-\w+", "", str(picture)) for picture in found]

    expected = pictures()
    theirs = {"image.origin": "lower", "axes.grid": True, "text.color": "white", "savefig.bbox": "tight"}
    with matplotlib.rc_context(theirs):
        before = dict(matplotlib.rcParams)
        assert pictures() == expected
        assert dict(matplotlib.rcParams) == before
