"""Releases: one version in all files, notes from the changelog, valid packages, and workflows."""

from __future__ import annotations

import io
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.helpers.release import check_packages, declared_version, release_notes

ROOT = Path(__file__).parents[1]

CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2027-01-31

### Added

- A thing.

## [0.1.0] - 2026-12-01

### Added

- Everything.
"""


def read_text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_version_is_the_same_in_all_files() -> None:
    version = declared_version()
    assert re.findall(r"^version: (.+)$", read_text("CITATION.cff"), re.MULTILINE) == [version]
    assert re.findall(r"^  version = \{(.+)\},$", read_text("docs/citation.md"), re.MULTILINE) == [version]


def test_citation_file_and_page_cite_the_same_paper() -> None:
    (number,) = set(re.findall(r"arxiv\.org/abs/([\d.]+)", read_text("CITATION.cff")))
    (paper,) = re.findall(r"^@inproceedings\{.*?^\}", read_text("docs/citation.md"), re.MULTILINE | re.DOTALL)
    assert f"eprint        = {{{number}}}" in paper
    assert tomllib.loads(read_text("pyproject.toml"))["project"]["urls"]["Paper"].endswith(number)
    names = re.findall(r"family-names: (.+)\n +given-names: (.+)", read_text("CITATION.cff"))
    assert " and ".join(f"{family}, {given}" for family, given in names) in paper


def test_changelog_has_its_sections_in_order() -> None:
    """The newest version is first; below each are only the headings of Keep a Changelog, each once."""
    first, *versions = re.split(r"^## ", read_text("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert first.startswith("[Unreleased]\n")
    numbers = [re.match(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d\n", section) for section in versions]
    assert all(numbers)
    version_numbers = [tuple(map(int, number.groups())) for number in numbers if number]
    assert version_numbers == sorted(version_numbers, reverse=True)
    for section in (first, *versions):
        headings = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert headings == [
            name for name in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security") if name in headings
        ]


def test_release_notes_are_the_section_of_the_version() -> None:
    assert release_notes(CHANGELOG, "0.2.0") == "### Added\n\n- A thing.\n"
    assert release_notes(CHANGELOG, "0.1.0") == "### Added\n\n- Everything.\n"


@pytest.mark.parametrize("version", ["0.3.0", "0.2", "Unreleased"])
def test_release_notes_refuses_a_version_without_a_section(version: str) -> None:
    with pytest.raises(ValueError, match="rename 'Unreleased' to that"):
        release_notes(CHANGELOG, version)


def write_packages(folder: Path, version: str = "0.2.0", metadata: str = "") -> Path:
    """Write a source archive and a wheel that hold metadata alone."""
    data = (metadata or f"Metadata-Version: 2.4\nName: videossr\nVersion: {version}\n\nText.\n").encode()
    with tarfile.open(folder / f"videossr-{version}.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo(f"videossr-{version}/PKG-INFO")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(folder / f"videossr-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"videossr-{version}.dist-info/METADATA", data)
    return folder


def test_check_packages_accepts_complete_packages(tmp_path: Path) -> None:
    check_packages(write_packages(tmp_path), "0.2.0")


def test_check_packages_names_missing_and_other_packages(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no package, not videossr-0\.2\.0\.tar\.gz and"):
        check_packages(tmp_path, "0.2.0")
    write_packages(tmp_path, "0.1.0")
    with pytest.raises(ValueError, match=r"holds videossr-0\.1\.0-py3-none-any\.whl, videossr-0\.1\.0\.tar\.gz, not"):
        check_packages(tmp_path, "0.2.0")
    write_packages(tmp_path)
    with pytest.raises(ValueError, match="run `make dist`"):
        check_packages(tmp_path, "0.2.0")


def test_check_packages_refuses_invalid_metadata(tmp_path: Path) -> None:
    write_packages(
        tmp_path,
        metadata="Metadata-Version: 2.4\nName: videossr\nVersion: 0.2.0\nLicense-Expression: Apache 2\n\nText.",
    )
    with pytest.raises(ExceptionGroup) as raised:
        check_packages(tmp_path, "0.2.0")
    assert "license-expression" in str(raised.value.exceptions[0])


def test_workflows_run_existing_make_targets_and_pinned_actions() -> None:
    """Make targets in workflows are in the Makefile, and actions are pinned by their commits."""
    targets = set(re.findall(r"^([\w-]+):", read_text("Makefile"), re.MULTILINE))
    workflows = {path.name: path.read_text("utf-8") for path in (ROOT / ".github/workflows").glob("*.yml")}
    run = {name: set(re.findall(r"run: make ([\w-]+)", workflow)) for name, workflow in workflows.items()}
    assert run["fast.yml"] >= {"check", "test-fast"}
    assert run["full.yml"] >= {"coverage"}
    assert run["release.yml"] >= {"dist"}
    assert set.union(*run.values()) <= targets
    assert "run: .ci/run\n" in workflows["full.yml"]
    uses = [action for workflow in workflows.values() for action in re.findall(r"uses: ([^.\s]\S+)", workflow)]
    assert uses
    assert [action for action in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_fast_workflow_covers_every_supported_python() -> None:
    (line,) = re.findall(r"^ +python: \[(.+)\]$", read_text(".github/workflows/fast.yml"), re.MULTILINE)
    classifiers = tomllib.loads(read_text("pyproject.toml"))["project"]["classifiers"]
    supported = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier) for classifier in classifiers]
    assert re.findall(r'"(.+?)"', line) == [match[1] for match in supported if match]


def test_contributing_names_existing_tests() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", read_text("CONTRIBUTING.md"))
    assert len(named) > 10
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []
