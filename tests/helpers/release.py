"""Check what a release would publish, and write its notes.

python -m tests.helpers.release FOLDER [TAG]
"""

from __future__ import annotations

import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).parents[2]


def declared_version(root: Path = ROOT) -> str:
    """Return the version in pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def release_notes(changelog: str, version: str) -> str:
    """Return the text of one version's section of a changelog, without its heading.

    Raises:
        ValueError: there is no section of that version with a date, or nothing is in it.
    """
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)"
    section = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ValueError(f"CHANGELOG.md has nothing under '## [{version}] - YYYY-MM-DD': rename 'Unreleased' to that")
    return section[1].strip() + "\n"


def check_packages(folder: Path, version: str) -> None:
    """Check that a folder holds one source archive and one wheel of `version` that a package index would take.

    Raises:
        ValueError: a file is missing, or has another name, version or metadata that the standard does not allow.
    """
    sdist = folder / f"videossr-{version}.tar.gz"
    wheel = folder / f"videossr-{version}-py3-none-any.whl"
    packages = {path for pattern in ("*.tar.gz", "*.whl") for path in folder.glob(pattern)}
    if packages != {sdist, wheel}:
        names = ", ".join(sorted(path.name for path in packages)) or "no package"
        raise ValueError(f"{folder} holds {names}, not {sdist.name} and {wheel.name}: run `make dist`")
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(f"videossr-{version}/PKG-INFO")
        texts = {sdist: member.read() if member is not None else b""}
    with zipfile.ZipFile(wheel) as archive:
        texts[wheel] = archive.read(f"videossr-{version}.dist-info/METADATA")
    for path, text in texts.items():
        metadata = Metadata.from_email(text)  # raises a group of errors that name the wrong fields
        if str(metadata.version) != version or not metadata.description:
            raise ValueError(f"{path} is of version {metadata.version}, or has no description")


def main(folder: str, tag: str = "") -> None:
    """Check the packages in `folder`; with a tag, also that it is theirs, and write `NOTES.md` beside them."""
    version = declared_version()
    if tag:
        if tag != f"v{version}":
            raise ValueError(f"the tag is {tag}, but pyproject.toml says version {version}: tag v{version}")
        notes = release_notes((ROOT / "CHANGELOG.md").read_text("utf-8"), version)
        (Path(folder) / "NOTES.md").write_text(notes, "utf-8")
    check_packages(Path(folder), version)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, KeyError, ValueError, ExceptionGroup) as error:
        sys.exit(f"{type(error).__name__}: {error}")
