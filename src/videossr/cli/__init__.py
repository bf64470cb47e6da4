"""The command `videossr`: one file per verb, each of which parses, calls and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App

import videossr
from videossr.workers import WorkerError

VERBS = {
    "index": "Decode a folder of videos once, into a corpus.",
    "build": "Draw questions from a corpus, into a dataset.",
    "validate": "Check everything that a dataset claims.",
    "gallery": "Show samples of a dataset on one page.",
}

app = App(
    name="videossr",
    help="Questions with proven answers from any folder of unlabelled videos.",
    help_epilogue="Start with: videossr index demo/videos --out demo/corpus",
    version=videossr.__version__,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
for order, (verb, purpose) in enumerate(VERBS.items()):
    app.command(f"videossr.cli.{verb}:app", name=verb, help=purpose, sort_key=order)


def main(words: Sequence[str] | None = None) -> None:
    """Entry point; `words` are those of the command line by default.

    Exit status 0: done; 1: done, and something does not hold; 2: could not be done; 130: stopped by Ctrl-C.
    """
    words = sys.argv[1:] if words is None else words
    try:
        app(words)
    except KeyboardInterrupt:
        again = "goes on where it was" if words[:1] == ["index"] else "starts anew"
        sys.exit(_fail(f"stopped; the same command {again}", 130))
    except (OSError, ValueError, KeyError, WorkerError) as error:
        if os.environ.get("VIDEOSSR_TRACEBACK"):
            raise
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(_fail(str(message)))


def _fail(message: str, status: int = 2) -> int:
    sys.stderr.write(f"videossr: {message}\n")
    return status
