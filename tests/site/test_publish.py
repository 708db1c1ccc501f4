"""What leaves the machine: the workflows that test and publish have few rights and pinned actions."""

import re
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
WORKFLOWS = {path.stem: path.read_text() for path in FOLDER.glob("*.yml")}


def faults(workflow: str) -> list[str]:
    """Return which rights are too many, and which actions are not named by their commit: a tag can be moved."""
    loose = [use for use in re.findall(r"uses: *(\S+)", workflow) if not re.search(r"@[0-9a-f]{40}$", use)]
    rights = yaml.safe_load(workflow).get("permissions")
    wide = [] if isinstance(rights, dict) and set(rights) == {"contents"} else [f"permissions: {rights}"]
    return loose + wide


def test_workflows_have_few_rights_and_pinned_actions():
    assert {name: faults(text) for name, text in WORKFLOWS.items()} == {"test": [], "publish": []}
    assert yaml.safe_load(WORKFLOWS["test"])["permissions"] == {"contents": "read"}
    assert "make test" in WORKFLOWS["test"]
    assert all(part in WORKFLOWS["publish"] for part in ("make book", "_build/html", "gh-pages", ".nojekyll"))


def test_loose_workflows_are_found():
    loose = "permissions: write-all\njobs: {a: {steps: [{uses: actions/x@v4.2.2 }]}}"
    assert faults(loose) == ["actions/x@v4.2.2", "permissions: write-all"] and faults("jobs: {}") == [
        "permissions: None"
    ]
