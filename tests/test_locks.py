"""The lock files say what pyproject.toml and the lists of the side environments ask for: else `make lock` is due."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
SIDES = sorted((REQUIREMENTS / "side").glob("*.in"))
TORCH = Requirement((REQUIREMENTS / "torch.txt").read_text("utf-8").splitlines()[-1])
LOCKED = re.compile(r"(?P<name>[\w.\-]+)==(?P<version>\S+)(?: ; .+?)? \\\n(?:    --hash=\S+.*\n)+")


def read_lock(path: Path) -> dict[str, set[str]]:
    """Return the versions of each package: more than one where they depend on the version of Python."""
    versions: dict[str, set[str]] = {}
    for entry in LOCKED.finditer(path.read_text("utf-8")):
        versions.setdefault(canonicalize_name(entry["name"]), set()).add(entry["version"])
    return versions


def wanted() -> list[Requirement]:
    """Return what `make demo` and `make test` install, of the package and of its development group."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = table["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    every = map(Requirement, [*project["dependencies"], *extras, *table["dependency-groups"]["dev"]])
    return [requirement for requirement in every if requirement.name not in ("torch", "videossr")]


def listed(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_the_lock_has_what_the_package_asks_for(requirement: Requirement) -> None:
    versions = read_lock(REQUIREMENTS / "dev.lock").get(canonicalize_name(requirement.name), set())
    assert versions, f"{requirement.name} is not locked: run `make lock`"
    assert all(requirement.specifier.contains(version) for version in versions), "run `make lock`"


@pytest.mark.parametrize("side", SIDES, ids=lambda path: path.stem)
def test_the_lock_of_a_side_environment_has_what_its_list_asks_for(side: Path) -> None:
    versions = read_lock(side.with_suffix(".lock"))
    for requirement in listed(side):
        if requirement.name == TORCH.name:
            assert requirement.specifier == TORCH.specifier
            continue
        found = versions.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement.name} is not locked: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in found), "run `make lock`"


@pytest.mark.parametrize("lock", [REQUIREMENTS / "dev.lock", *(side.with_suffix(".lock") for side in SIDES)], ids=str)
def test_everything_in_a_lock_has_a_hash_and_no_address(lock: Path) -> None:
    text = lock.read_text("utf-8")
    pinned = [line for line in text.splitlines() if re.match(r"[\w.\-]+==", line)]
    assert len(pinned) == len(list(LOCKED.finditer(text))) > 10
    assert "torch" not in read_lock(lock), "its hash is not that of the CPU build"
    assert "://" not in text
    assert not [name for name in read_lock(lock) if name.startswith(("nvidia-", "cuda-", "triton"))]
