"""The documentation only names files, anchors, commands, options and settings that exist. `make docs` checks links.

tests/integration/test_docs.py runs the blocks of code.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import ArgumentOrderError, CycloptsError, MissingArgumentError

import videossr
from tests.helpers.snippets import PAGES, ROOT, RUNNABLE, Snippet, code_spans, snippets
from tests.test_layers import LAYERS
from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.questions import read_settings
from videossr.builder.recipe import load_recipe, recipe_names
from videossr.cli import app
from videossr.cli.bench.public import benchmark_names, split_settings
from videossr.cli.settings import parse_settings
from videossr.training.config import load_config, names

SOURCES = [
    path
    for folder in ("src", "tests", "benchmarks", "examples", ".ci", "docs", "requirements")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".sh", ".toml", ".md", ".jinja", ".in", ""} and path.is_file() and path != Path(__file__)
]
SOURCES += [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")]

FOLDERS = ("src", "tests", "docs", "examples", "benchmarks", "requirements")
"""Folders of this repository; a path in a page that begins with one of them must exist."""


def relative_path(page: Path) -> str:
    return str(page.relative_to(ROOT))


def named_pages(text: str) -> set[str]:
    """Return the files below docs/ that a text names."""
    return {name.rstrip(".") for name in re.findall(r"(?<![\w/])docs/[\w./-]+\.(?:md|svg|png|jpg|jsonl|json|py)", text)}


def test_pages_named_in_any_file_exist() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in named_pages(path.read_text("utf-8", errors="ignore"))
        if not (ROOT / name).exists()
    }
    assert not missing
    assert named_pages("See docs/absent.md.") == {"docs/absent.md"}
    assert len({name for path in SOURCES for name in named_pages(path.read_text("utf-8", errors="ignore"))}) > 15


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative_path)
def test_links_in_pages_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        if "://" in target or name.startswith("mailto:"):
            continue
        path = page.parent / name if name else page
        known = path.exists() and (not anchor or path.name == "python.md" or anchor in anchors(path))
        broken += [] if known else [target]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=relative_path)
def test_paths_in_pages_exist(page: Path) -> None:
    """Code spans are searched; a wildcard must match a file. `video/probe.py` is short for a path in the package."""
    missing = []
    for span in code_spans(page):
        for word in span.split():
            word = word.strip("(),;:").partition("::")[0].rstrip("/")
            inside = re.fullmatch(r"[a-z_]+/[a-z_0-9/]+\.(py|toml)", word) is not None
            if word.split("/")[0] in FOLDERS and "/" in word and not re.search("…|NAME", word) and not word.isupper():
                exists = any(ROOT.glob(word)) or any(page.parent.glob(word))
            elif inside:
                exists = any((ROOT / base / word).exists() for base in ("", "src/videossr", "examples/custom_task"))
            else:
                continue
            missing += [] if exists else [word]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=relative_path)
def test_code_blocks_name_their_language(page: Path) -> None:
    """A block without a language, or an indented block, would not be seen by the tests."""
    known = {*RUNNABLE, "toml", "json", "text"}
    assert [str(snippet) for snippet in snippets(page) if snippet.language not in known] == []
    assert re.findall(r"^    (?:videossr|python|make|sh) .*$", page.read_text("utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=relative_path)
def test_code_blocks_that_cannot_run_give_a_reason(page: Path) -> None:
    text = page.read_text("utf-8")
    reasons = [snippet.reason for snippet in snippets(page) if snippet.reason]
    assert text.count("<!-- not run") == len(reasons), "a marker `not run` is not in front of a block"
    assert text.count("<!-- setup") == sum(snippet.hidden for snippet in snippets(page)), "a setup is malformed"
    assert all(len(reason.split()) > 3 for reason in reasons)


@pytest.mark.parametrize("page", PAGES, ids=relative_path)
def test_shell_blocks_can_be_parsed(page: Path) -> None:
    for snippet in shell_snippets(page):
        completed = subprocess.run(["bash", "-n", "-c", snippet.code], capture_output=True, text=True, check=False)
        assert not completed.stderr, f"{snippet}: {completed.stderr}"


def commands(code: str) -> Iterator[list[str]]:
    """Yield the words of each `videossr` command in a text of shell, whatever starts it (python -m, torchrun, srun)."""
    code = re.sub(r"\\\n|…|\.\.\.", " ", code)
    code = re.sub(r'"?\$[A-Z_]+"?', "1", code)  # a variable of Slurm stands for a number
    for line in code.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # an apostrophe in a sentence of a heredoc
            continue
        for at, word in enumerate(words):
            starts = word == "videossr" and (not at or words[at - 1] in {"|", ";", "&&", "srun"})
            module = word == "videossr.cli" and words[at - 1] == "-m"
            if starts or module:
                rest = words[at + 1 :]
                ends = (k for k, sign in enumerate(rest) if set(sign) <= set("|;&<>"))
                yield rest[: next(ends, len(rest))]


def fault_of(words: list[str], whole: bool) -> str:
    """Return what is wrong with the words of a command, or an empty text.

    Where a command is not `whole`, as in a sentence, required arguments may be missing.
    """
    if words[-1:] == ["--help"] or not words:
        return ""
    try:
        command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
        public = benchmark_names(bound.args[0]) if words[:2] in (["bench", "run"], ["bench", "check"]) else None
        prefix = "model." if words[0] == "bench" and public is None else ""
        settings = parse_settings(bound.arguments.get("settings", ()), command, "--a.b=1", prefix)
        for name, own in split_settings(settings, public).items() if public else ():
            if name != "model":
                read_settings(BENCHMARKS.get(name), name, own)
        if words[0] == "train" and bound.arguments["config"] in names():
            ours = {name: text for name, text in settings.items() if not name.startswith("verl.")}
            load_config(bound.arguments["config"], ours)
        if words[0] == "build" and bound.arguments["recipe"] in recipe_names():
            load_recipe(bound.arguments["recipe"], settings)
    except MissingArgumentError as error:
        return str(error) if whole else ""
    except (CycloptsError, ArgumentOrderError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=relative_path)
def test_commands_in_pages_are_valid(page: Path) -> None:
    """A renamed verb, option or setting is noticed, also in blocks that cannot run here."""
    blocks = [(snippet, words) for snippet in shell_snippets(page) for words in commands(snippet.code)]
    wrong = [
        f"{snippet}: {' '.join(words)}: {message}"
        for snippet, words in blocks
        if (message := fault_of(words, whole=True))
    ]
    spans = [words for span in code_spans(page) for words in commands(span)]
    wrong += [f"{' '.join(words)}: {message}" for words in spans if (message := fault_of(words, whole=False))]
    assert not wrong


def shell_snippets(page: Path) -> list[Snippet]:
    return [snippet for snippet in snippets(page) if snippet.language == "sh"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("videossr index demo/videos --bogus 1 --out x", "--bogus"),
        ("videossr index demo/videos --bogus=1 --out x", "--bogus"),
        ("videossr build smoke --corpus x --out y --categories.jigsaw/6.cuont=1", "'cuont'"),
        ("videossr bench run x --out y --model chance --batch=2", "--batch"),
        ("videossr indx demo/videos --out x", "indx"),
        ("torchrun --nproc-per-node 2 -m videossr.cli train train-nano --run.stepz=2 --out x", "'stepz' in run"),
        ("python -m videossr.cli build smoke --out x", "--corpus"),
        ("cat x | videossr report demo/runs --format xml", "xml"),
        ("videossr build smoke --corpus x --out y && videossr index demo/videos --out x", ""),
    ],
)
def test_fault_of_names_the_mistake_in_a_command(line: str, message: str) -> None:
    faults = [fault_of(words, whole=True) for words in commands(line)]
    assert faults
    assert message in "".join(faults)
    assert bool("".join(faults)) == bool(message)


def test_architecture_page_lists_the_layers_in_order() -> None:
    table = (ROOT / "docs/architecture.md").read_text("utf-8").partition("## The tree")[2].partition("## The layers")[0]
    rows = [re.findall(r"`([a-z_]+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    listed = [module for row in rows for module in row]
    assert sorted(listed) == sorted(module for layer in LAYERS for module in layer)
    depth = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}
    assert [depth[module] for module in listed] == sorted(depth.values())


def test_python_reference_has_every_public_name() -> None:
    page = (ROOT / "docs/reference/python.md").read_text("utf-8").splitlines()
    listed = {line.rpartition(".")[2] for line in page if line.startswith("::: ")}
    listed |= {line.strip().removeprefix("- ") for line in page if line.startswith("        - ")}
    assert set(videossr.__all__) - listed == set()
