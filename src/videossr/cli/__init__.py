"""The command `videossr`: one file per verb, each of which parses, calls and prints."""

from __future__ import annotations

import os
import sys

from cyclopts import App

import videossr
from videossr.workers import WorkerError

app = App(
    name="videossr",
    help="Questions with proven answers from any folder of unlabelled videos.",
    help_epilogue="Start with: videossr index VIDEOS --out CORPUS",
    version=videossr.__version__,
    version_flags=["--version"],
)
for verb in ("index", "build", "validate", "gallery"):
    app.command(f"videossr.cli.{verb}:app", name=verb)


def main() -> None:
    """Entry point. Exit status 0: done; 1: done, and something does not hold; 2: could not be done."""
    try:
        app()
    except (OSError, ValueError, KeyError, WorkerError) as error:
        if os.environ.get("VIDEOSSR_TRACEBACK"):
            raise
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(_fail(str(message)))
    except KeyboardInterrupt:
        sys.exit(_fail("stopped. Run the same command again to go on", 130))


def _fail(message: str, status: int = 2) -> int:
    sys.stderr.write(f"videossr: {message}\n")
    return status
