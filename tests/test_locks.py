"""The lock files fulfill pyproject.toml and the lists of the side environments; otherwise run `make lock`."""

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


def declared_requirements() -> list[Requirement]:
    """Return what `make demo` and `make test` install, of the package and of its development group."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = table["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    every = map(Requirement, [*project["dependencies"], *extras, *table["dependency-groups"]["dev"]])
    return [requirement for requirement in every if requirement.name not in ("torch", "videossr")]


def listed_requirements(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


@pytest.mark.parametrize("requirement", declared_requirements(), ids=str)
def test_dev_lock_fulfills_the_requirements_of_the_package(requirement: Requirement) -> None:
    versions = read_lock(REQUIREMENTS / "dev.lock").get(canonicalize_name(requirement.name), set())
    assert versions, f"{requirement.name} is not locked: run `make lock`"
    assert all(requirement.specifier.contains(version) for version in versions), "run `make lock`"


@pytest.mark.parametrize("side", SIDES, ids=lambda path: path.stem)
def test_side_locks_fulfill_their_lists(side: Path) -> None:
    versions = read_lock(side.with_suffix(".lock"))
    for requirement in listed_requirements(side):
        if requirement.name == TORCH.name:
            assert requirement.specifier == TORCH.specifier
            continue
        locked_versions = versions.get(canonicalize_name(requirement.name), set())
        assert locked_versions, f"{requirement.name} is not locked: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in locked_versions), "run `make lock`"


@pytest.mark.parametrize("lock", [REQUIREMENTS / "dev.lock", *(side.with_suffix(".lock") for side in SIDES)], ids=str)
def test_locks_have_hashes_and_no_addresses(lock: Path) -> None:
    text = lock.read_text("utf-8")
    pinned = [line for line in text.splitlines() if re.match(r"[\w.\-]+==", line)]
    assert len(pinned) == len(list(LOCKED.finditer(text))) > 10
    assert "torch" not in read_lock(lock), "its hash is not that of the CPU build"
    assert "://" not in text
    assert not [name for name in read_lock(lock) if name.startswith(("nvidia-", "cuda-", "triton"))]
