"""Define the command `videossr`. Each verb has a module that parses its words, calls the package and prints."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, CycloptsPanel

import videossr
from videossr.cli.streams import prepare_streams, write_error
from videossr.errors import VideoSSRError
from videossr.runners.threads import limit_threads
from videossr.untrusted import plain_text

VERBS = {
    "index": "Decode videos once and write their frames as a corpus.",
    "build": "Draw questions from a corpus and write them as a dataset.",
    "validate": "Check the labels, pixels, times and statistics of a dataset.",
    "gallery": "Show samples of a dataset on one page.",
    "bench": "Evaluate models, score their answers, compare runs.",
    "train": "Train a checkpoint on a dataset.",
    "report": "Write a page with the results of benchmark runs or of training runs.",
    "export": "Write questions in the formats of other programs.",
    "corpus": "Describe, merge and split corpora.",
    "dataset": "Describe, merge and split datasets.",
}


def _panel(error: CycloptsError) -> object:
    """Draw an error in the words of the command line, which may hold names of files that others made."""
    return CycloptsPanel(plain_text(str(error)))


app = App(
    name="videossr",
    help="Make questions with proven answers from any folder of unlabelled videos.",
    help_epilogue="Start with: videossr index demo/videos --out demo/corpus\n\n"
    "Exit status: 0 done, 1 done and something does not hold, 2 could not be done, 130 stopped by Ctrl-C.",
    version=videossr.__version__,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    error_formatter=_panel,
)
for order, (verb, purpose) in enumerate(VERBS.items()):
    app.command(f"videossr.cli.{verb}:app", name=verb, help=purpose, sort_key=order)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command.

    Exit status 0: done; 1: done, and something does not hold; 2: could not be done; 130: stopped by Ctrl-C. See
    docs/reference/exit-status.md. With the variable VIDEOSSR_TRACEBACK set, an error ends with its traceback.

    Args:
        words: the words of the command line; those of the process by default.
    """
    prepare_streams()
    words = sys.argv[1:] if words is None else words
    limit_threads(os.environ)
    try:
        app(words)
    except KeyboardInterrupt:
        sys.exit(_fail("stopped; the same command goes on where it was", 130))
    except Exception as error:
        from videossr.storage.paths import transport_error  # it is slow to import, and seldom needed

        unreachable = transport_error(error)
        if not (isinstance(error, VideoSSRError | OSError) or unreachable) or os.environ.get("VIDEOSSR_TRACEBACK"):
            raise
        message = unreachable or str(error)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            message += "; free some space, and the same command goes on where it was"
        sys.exit(_fail(message))


def _fail(message: str, status: int = 2) -> int:
    """Print a message on standard error and return the exit status."""
    write_error(message)
    return status
