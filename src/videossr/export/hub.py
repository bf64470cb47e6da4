"""Upload a folder to a dataset repository of the Hugging Face hub, by huggingface_hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from videossr.errors import ConfigError, MissingExtraError, ServerError
from videossr.storage.paths import transport_error


def check_access(repository: str) -> None:
    """Check that the hub knows the user, before anything is written that takes hours.

    Args:
        repository: as ORGANIZATION/NAME.

    Raises:
        ConfigError: the name has another form.
        MissingExtraError: huggingface_hub is not installed.
        ServerError: the user is not logged in, or the hub cannot be reached.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repository, re.ASCII):
        raise ConfigError(f"--push {repository}: name a dataset of the hub as ORGANIZATION/NAME, or USER/NAME")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError(
            f"--push needs huggingface_hub: {error}. Install it with: pip install 'videossr[remote]'"
        ) from error
    with _reaching(repository):
        HfApi().whoami()


def upload(folder: Path, repository: str, patterns: Sequence[str]) -> str:
    """Upload files of a folder; a repository that is not there is made, a private one. What is there is left out.

    Args:
        folder: that is uploaded.
        repository: as ORGANIZATION/NAME.
        patterns: of the files in it, such as ``train/*``.

    Returns:
        The address of the dataset's page.

    Raises:
        ServerError: the hub refuses it, or cannot be reached. The same call goes on.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _reaching(repository):
        page = api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        # Before version 2 `upload_folder` made a single commit, in which thousands of files fail.
        send = getattr(api, "upload_large_folder", api.upload_folder)
        send(repo_id=repository, folder_path=folder, repo_type="dataset", allow_patterns=[*patterns])
    return str(page)


@contextmanager
def _reaching(repository: str) -> Iterator[None]:
    """Raise ServerError for what huggingface_hub raises in the block."""
    try:
        yield
    except Exception as error:
        reason = transport_error(error)
        if reason is None:
            raise
        raise ServerError(
            f"--push {repository}: {reason}. The command `hf auth login`, or HF_TOKEN, gives a token that may write; "
            "the same command then goes on where it was"
        ) from error
