"""Run code that a stranger wrote, such as a template or a regular expression, with a deadline and a limit of memory.

Neither a thread nor a signal can stop all such code, so it runs in a process of its own, which can be killed.
`videossr.engine.chat_template` and `videossr.corpus.source_id` use it.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from typing import Any

_MEMORY = 2 << 30
"""Bytes of addresses that the process may have."""

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from videossr.runners.deadline import serve
serve()
"""


class OverrunError(Exception):
    """The code did not end in time, or wanted too much memory; the text says which."""


def run_within(seconds: float, function: str, argument: object) -> Any:
    """Call a function in a process of its own.

    Args:
        seconds: until the process is killed.
        function: its module and name, as ``videossr.corpus.source_id:find``.
        argument: of the call, as JSON can hold it.

    Returns:
        What it returned, as JSON holds it.

    Raises:
        OverrunError: it did not end in time, or wanted more than 2 GiB.
        RuntimeError: the process failed otherwise.
    """
    call = json.dumps([function, argument])
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)],
            input=call,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OverrunError(f"has not ended after {seconds:g} s") from error
    if done.returncode == _NO_MEMORY:
        raise OverrunError(f"wants more than {_MEMORY >> 30} GiB of memory")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(lines[-1])
    return json.loads(done.stdout)


_NO_MEMORY = 77
"""Exit status of a process whose memory ended."""


def serve() -> None:
    """Make the call that stands on the input, in the process of its own."""
    function, argument = json.load(sys.stdin)
    module, _, name = function.partition(":")
    call = getattr(importlib.import_module(module), name)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        result = json.dumps(call(argument))
    except MemoryError:
        sys.exit(_NO_MEMORY)
    sys.stdout.write(result)
