"""A command that is killed when its output is complete, before it has removed its staging directory."""

from __future__ import annotations

import signal
import subprocess
import sys
from textwrap import dedent

_CHILD = """
    import os, signal, sys
    from types import SimpleNamespace
    from videossr.cli import main
    from videossr.storage import output_dir

    def killed(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    output_dir.shutil = SimpleNamespace(rmtree=killed)
    main(sys.argv[1:])
"""


def kill_at_the_end(*words: str) -> None:
    """Run `videossr` with these words in a process that is killed so."""
    ended = subprocess.run([sys.executable, "-c", dedent(_CHILD), *words], check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
