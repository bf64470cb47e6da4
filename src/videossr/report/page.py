"""Write self-contained HTML pages: one file each, all text escaped, no foreign script, no access to the network.

The content of a page is untrusted: paths, names, prompts, answers of models.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from videossr.config import flatten
from videossr.storage.paths import atomic_write


def write_page(template: str, out: Path, styles: Sequence[str], scripts: Sequence[str], **context: object) -> None:
    """Write the page of a template; the file appears under its name only when it is complete.

    The template extends `page.html.jinja`. It is streamed to the file, so that an iterator in `context` may hold the
    pixels of one thing at a time.

    Args:
        template: name of an asset of this package.
        out: the HTML file to write.
        styles: names of the style sheets that follow `page.css`.
        scripts: names of the scripts that follow `frames.js`.
        context: what the template shows; `title` and `facts` (name -> value) are its heading.
    """
    script = "".join(_asset(name) for name in ("frames.js", *scripts))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_asset)
    )
    environment.filters["seconds"] = lambda milliseconds: f"{milliseconds / 1000:.2f}"
    page = environment.get_template(template).generate(
        style=Markup("".join(_asset(name) for name in ("page.css", *styles))),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **context,
    )
    with (
        atomic_write(out) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        file.writelines(page)


def table_facts(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return the values of a table of tables as text, by dotted names behind `prefix`; what is empty is left out."""
    facts: dict[str, str] = {}
    for name, value in flatten(table).items():
        if isinstance(value, bool):
            facts[f"{prefix}{name}"] = str(value).lower()
        elif value not in (None, ""):
            facts[f"{prefix}{name}"] = f"{value:g}" if isinstance(value, float) else str(value)
    return facts


def _asset(name: str) -> str:
    """Read a template, style sheet or script of this package."""
    return (files("videossr.report") / "static" / name).read_text("utf-8")
