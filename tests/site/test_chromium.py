"""Which Chromium the browser tests take, and what they say when there is none."""

from types import SimpleNamespace

import pytest

from benchmarks import chromium


def playwright(able):
    """Stands in for Playwright: only executables in `able` start."""

    def launch(executable_path, args):
        if executable_path not in able:
            raise OSError("libnss3.so: cannot open shared object file\nand so on")
        return executable_path

    return SimpleNamespace(chromium=SimpleNamespace(launch=launch, executable_path="/nowhere/chrome"))


@pytest.fixture(autouse=True)
def three_places(monkeypatch):
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 0)
    for place in ("on_path", "playwrights_own", "system_package"):
        monkeypatch.setattr(chromium, place, lambda _, place=place: place)


def test_the_places_are_asked_in_order():
    assert chromium.launch(playwright({"on_path", "playwrights_own"})) == "on_path"
    assert chromium.launch(playwright({"playwrights_own", "system_package"})) == "playwrights_own"
    assert chromium.launch(playwright({"system_package"})) == "system_package"


def test_without_a_chromium_one_command_is_named():
    with pytest.raises(RuntimeError, match=r"playwright install --with-deps chromium\n.*libnss3"):
        chromium.launch(playwright(set()))


def test_only_root_installs_a_system_package(monkeypatch):
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 1000)
    with pytest.raises(RuntimeError, match="playwright install"):
        chromium.launch(playwright({"system_package"}))
