"""Versions for manifests: those that must be known, those that may be missing, and those of several results."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from videossr.storage.provenance import ffmpeg_versions, installed_versions, merge_versions


def test_versions_are_those_of_the_installed_packages() -> None:
    assert installed_versions(["numpy", "av"]) == {"numpy": version("numpy"), "av": version("av")}
    assert installed_versions(["av"], optional=["no-such-package", "numpy"]).keys() == {"av", "numpy"}
    with pytest.raises(PackageNotFoundError, match="no-such-package"):
        installed_versions(["no-such-package"])


def test_those_of_ffmpeg_are_numbers() -> None:
    assert all(part.isdecimal() for part in ffmpeg_versions()["libavcodec"].split("."))


def test_merged_versions_name_all_that_were_at_work() -> None:
    merged = merge_versions([{"b": "2", "a": "1"}, {"b": "1 and 3"}, {"b": "3", "c": "4"}])
    assert merged == {"a": "1", "b": "1 and 2 and 3", "c": "4"}
    assert list(merged) == ["a", "b", "c"]
    assert merge_versions([merged]) == merged
