"""Versions in manifests: of installed packages, of optional packages, and merged from several results."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from videossr.storage.provenance import ffmpeg_versions, installed_versions, merge_versions


def test_installed_versions_are_those_of_the_installed_packages() -> None:
    assert installed_versions(["numpy", "av"]) == {"numpy": version("numpy"), "av": version("av")}
    assert installed_versions(["av"], optional=["no-such-package", "numpy"]).keys() == {"av", "numpy"}
    with pytest.raises(PackageNotFoundError, match="no-such-package"):
        installed_versions(["no-such-package"])


def test_ffmpeg_versions_are_numbers() -> None:
    assert all(part.isdecimal() for part in ffmpeg_versions()["libavcodec"].split("."))


def test_merge_versions_joins_different_versions() -> None:
    merged = merge_versions([{"b": "2", "a": "1"}, {"b": "1 and 3"}, {"b": "3", "c": "4"}])
    assert merged == {"a": "1", "b": "1 and 2 and 3", "c": "4"}
    assert list(merged) == ["a", "b", "c"]
    assert merge_versions([merged]) == merged
