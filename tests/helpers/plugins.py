"""Write the metadata of packages, so that their entry points are found without an installation."""

from __future__ import annotations

from pathlib import Path


def write_entry_points(site: Path, package: str, entry_points: str) -> Path:
    """Declare entry points of a package in a folder of `sys.path`.

    Args:
        site: the folder, which is made if needed.
        package: name of the package.
        entry_points: groups in brackets, and below each ``name = module:attribute``, one a line.

    Returns:
        The file of the entry points.
    """
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    path = info / "entry_points.txt"
    path.write_text(entry_points)
    return path
