"""Look up the versions of the libraries that decide the bytes of a result, for its manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version


def installed_versions(packages: Iterable[str], *, optional: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of installed packages by their names, in the order given.

    Args:
        packages: names of distributions that must be there, such as ``opencv-python-headless``.
        optional: names of distributions that are left out where they are not installed.

    Raises:
        PackageNotFoundError: one of `packages` is not installed.
    """
    versions = {name: version(name) for name in packages}
    for name in optional:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def ffmpeg_versions() -> dict[str, str]:
    """Return the versions of the FFmpeg libraries that decode videos, such as ``libavcodec``: "62.11.100"."""
    import av  # decoding is not needed to read a manifest

    return {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}


def merge_versions(records: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return one record of versions out of several, for a result that was made of parts.

    Args:
        records: of the parts, each from library to version, or from library to "1.0 and 1.1" where it was merged.

    Returns:
        For each library all versions that were at work, ascending as text: "1.0 and 1.1".
    """
    numbers: dict[str, set[str]] = {}
    for record in records:
        for library, known in record.items():
            numbers.setdefault(library, set()).update(known.split(" and "))
    return {library: " and ".join(sorted(versions)) for library, versions in sorted(numbers.items())}
