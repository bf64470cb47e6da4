"""Find the code blocks in Markdown pages, and run them as a reader would.

HTML comments in a page, which readers do not see, tell the tests what to do:

- `<!-- not run: REASON -->` in front of a block says why it cannot run here.
- `<!-- setup`, lines of shell, `-->` makes what a reader would bring, such as a folder of images.

A block with a `title="NAME"` is a file: it is written, so that later blocks of the page can use it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START = ROOT / "docs/index.md"
PAGES = [START, *sorted({*ROOT.glob("*.md"), *ROOT.glob("examples/*/README.md"), *ROOT.glob("docs/**/*.md")} - {START})]
"""The pages that users read. The start page is the first one: what it makes in demo/ is what all others work on."""

RUNNABLE = ("sh", "python")
MINUTES = 20
"""How long one block may take; a block that hangs must not hang the tests."""

_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+?) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>[a-z]*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^(?P=indent)```$"
    r"|^<!-- setup\n(?P<setup>.*?)-->$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Snippet:
    """One code block of a page.

    Attributes:
        page: the file.
        line: of the first line of code, from 1.
        language: as the fence names it; empty where it names none.
        code: the text of the block, without its indentation.
        reason: why it cannot run here; empty where it can.
        title: the name of the file that the block is; empty where it is none.
        hidden: whether it is a setup that readers do not see.
    """

    page: Path
    line: int
    language: str
    code: str
    reason: str = ""
    title: str = ""
    hidden: bool = False

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    """List the code blocks of a page, in order; hidden setups are among them, as shell."""
    text = page.read_text("utf-8")
    return [_snippet(page, text, match) for match in _BLOCK.finditer(text)]


def _snippet(page: Path, text: str, match: re.Match[str]) -> Snippet:
    group = "setup" if match["setup"] is not None else "code"
    line = text.count("\n", 0, match.start(group)) + 1
    if group == "setup":
        return Snippet(page, line, "sh", match["setup"], hidden=True)
    code = "".join(row.removeprefix(match["indent"]) for row in match["code"].splitlines(keepends=True))
    return Snippet(page, line, match["language"], code, match["reason"] or "", match["title"] or "")


def run_page(page: Path, folder: Path) -> None:
    """Run the blocks of a page in a folder: files and shell in order, then all Python as one script.

    Args:
        page: the Markdown file.
        folder: the current folder of the blocks; files of the page are written there.

    Raises:
        AssertionError: a block ended with an error; the message holds the place in the page and what was printed.
    """
    script: list[Snippet] = []
    for snippet in snippets(page):
        if snippet.title:
            (folder / snippet.title).write_text(snippet.code, "utf-8")
        elif snippet.reason or snippet.language not in RUNNABLE:
            continue
        elif snippet.language == "python":
            script.append(snippet)
        else:
            _run(["bash", "-euo", "pipefail", "-c", snippet.code], folder, str(snippet))
    if script:
        path = folder / f"{page.stem}_page.py"
        path.write_text(_as_script(script), "utf-8")
        _run([sys.executable, "-W", "error", path.name], folder, str(page.relative_to(ROOT)))


def _as_script(blocks: list[Snippet]) -> str:
    """Join blocks of Python so that each line has the number that it has in the page, for tracebacks."""
    text = ""
    for block in blocks:
        text += "\n" * (block.line - 1 - text.count("\n")) + block.code
    return text


def _run(words: list[str], folder: Path, where: str) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # The package of this checkout; behind it what `pip install` of a page brings, without the network.
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{folder / 'installed'}",
        "PIP_TARGET": str(folder / "installed"),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the other way round: no isolation
        "PIP_NO_INDEX": "1",
        "OMP_NUM_THREADS": "1",
    }
    completed = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60 * MINUTES, check=False
    )
    assert completed.returncode == 0, (
        f"{where}: exit status {completed.returncode}\n{completed.stdout[-2000:]}{completed.stderr[-4000:]}"
    )


def code_spans(page: Path) -> Iterator[str]:
    """Yield the `code` in the sentences and tables of a page, not the blocks."""
    text = re.sub(r"\s*\n\s*", " ", _BLOCK.sub("", page.read_text("utf-8")))
    yield from re.findall(r"(?<!`)`([^`]+)`(?!`)", text)
