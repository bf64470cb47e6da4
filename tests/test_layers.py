"""The structure of the package: imports point down, `import videossr` loads nothing heavy, modules stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import videossr

ROOT = Path(videossr.__file__).parent
MODULES = {
    ".".join(["videossr", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

LAYERS = (
    ("cli",),
    ("report",),
    ("training", "bench", "export", "verl", "trl"),
    ("models",),
    ("engine",),
    ("validation",),
    ("prompt", "references"),
    ("question_set",),
    ("builder",),
    ("dataset",),
    ("rendering",),
    ("tasks",),
    ("templates",),
    ("answers",),
    ("perturb",),
    ("corpus",),
    ("video",),
    ("question",),
    ("measure",),
    ("sample",),
    ("clock",),
    ("config", "runners", "storage"),
    ("registry", "untrusted"),
    ("errors", "rewards"),
)
"""The layers from the top down. A module may import modules of its own layer or below it.

`config` (it reads TOML and names the nearest key), `runners` (processes) and `storage` (files) know nothing of videos
and serve every layer, so they stand below all of it; `config` uses `registry.suggest`. `rewards` and `errors` import
nothing of the package.
"""

PUBLIC = [
    "Clip",
    "Clock",
    "Corpus",
    "Item",
    "Measure",
    "Plan",
    "Question",
    "QwenCollator",
    "Rejection",
    "Sample",
    "Scores",
    "Task",
    "Truth",
    "Video",
    "VideoKey",
    "VideoSSRDataset",
    "VideoSSRError",
    "build_dataset",
    "collate",
    "compute_score",
    "evaluate",
    "index_videos",
    "load_recipe",
    "open_questions",
    "sample_video",
    "train",
]


_LIGHT = (
    *("", ".batching", ".config", ".cost", ".metrics", ".mixture", ".checkpoints"),
    *(".runs", ".runs.comparison", ".runs.health", ".runs.records", ".runs.signals", ".runs.writer"),
)
TORCH_FREE = {f"videossr.training{name}" for name in _LIGHT} | {"videossr.engine.checkpoint_folder"}
"""The modules of training that the command and the report use without torch."""

TORCH = {
    module
    for module in MODULES
    if module.startswith(("videossr.training.", "videossr.engine.")) and module not in TORCH_FREE
} | {"videossr.models.tiny", "videossr.models.transformers_model"}
"""The modules that may import torch; all others work without it."""


TRAINERS = {
    *("videossr.verl.agent_loop", "videossr.verl.dataset", "videossr.verl.sampler"),
    *("videossr.trl.trainer", "videossr.trl.dataset"),
}
"""They are made of classes of verl, TRL and datasets, and imported only where these are, as tests/integration does."""


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def all_imports(path: Path) -> Iterator[str]:
    """Yield the full names of all modules that a file imports; `from a import b` counts as `a` and as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports are absolute here"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_imports(path: Path) -> set[str]:
    """Return the modules of this package that a file imports."""
    return {name for name in all_imports(path) if name in MODULES}


def imports_from_above(module: str, names: set[str]) -> list[str]:
    """Return those of `names` that `module` may not import."""
    rank = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
    leaf = layer_of(module) in {"rewards", "errors"}
    return [name for name in sorted(names) if leaf or rank.get(layer_of(name), -1) < rank[layer_of(module)]]


def test_modules_all_have_a_layer() -> None:
    known = {name for names in LAYERS for name in names}
    assert {layer_of(module) for module in MODULES} - known == {""}
    assert len(MODULES) > 40


@pytest.mark.parametrize("module", [module for module in MODULES if module != "videossr"])
def test_imports_point_down(module: str) -> None:
    higher = imports_from_above(module, package_imports(MODULES[module]) - {"videossr"})
    assert not higher, f"{module} imports {', '.join(higher)}, which is above it"


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of modules that import each other in a circle, directly or through others."""

    def reachable(module: str) -> set[str]:
        reached: set[str] = set()
        pending = list(graph[module])
        while pending:
            name = pending.pop()
            if name not in reached:
                reached.add(name)
                pending += graph[name]
        return reached

    reach = {module: reachable(module) for module in graph}
    groups = {
        tuple(sorted(other for other in reach[module] if module in reach[other]))
        for module in graph
        if module in reach[module]
    }
    return [list(group) for group in sorted(groups)]


def test_modules_have_no_import_cycles() -> None:
    assert cycles({module: package_imports(path) - {"videossr"} for module, path in MODULES.items()}) == []


def test_cycles_finds_a_circle_of_imports() -> None:
    graph = {"local": {"base", "cluster"}, "cluster": {"threads", "local"}, "base": {"threads"}, "threads": set()}
    assert cycles(graph) == [["cluster", "local"]]


def test_only_the_command_imports_the_package_itself() -> None:
    assert [module for module, path in MODULES.items() if "videossr" in package_imports(path)] == ["videossr.cli"]


def test_imports_from_above_finds_imports_of_higher_layers(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    text = "if TYPE_CHECKING:\n    from videossr import rendering\ndef f():\n    import videossr.tasks.base\n"
    module.write_text(text)
    names = package_imports(module)
    assert names == {"videossr", "videossr.rendering", "videossr.tasks.base"}
    assert imports_from_above("videossr.perturb.color", names - {"videossr"}) == [
        "videossr.rendering",
        "videossr.tasks.base",
    ]
    assert imports_from_above("videossr.rendering", names - {"videossr"}) == []
    assert imports_from_above("videossr.rewards", {"videossr.registry"}) == ["videossr.registry"]


def test_rewards_import_the_standard_library_alone() -> None:
    names = set(all_imports(MODULES["videossr.rewards"]))
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, videossr, videossr.rewards; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(completed.stdout.split())
    assert "videossr" in loaded
    assert not loaded & {"numpy", "torch", "cv2", "av", "pyarrow", "pydantic", "scipy", "rich", "cyclopts", "jinja2"}


@pytest.mark.slow
def test_modules_outside_training_do_not_import_torch() -> None:
    names = sorted(set(MODULES) - TORCH - TRAINERS)
    code = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\nprint(*sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(completed.stdout.split())
    assert "videossr.validation.validator" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "torchvision"}


def test_index_build_and_read_import_no_scipy() -> None:
    """Its import takes as long as the rest of a small build."""
    names = ["videossr.corpus.indexer", "videossr.builder.builder", "videossr.dataset.dataset", "videossr.rendering"]
    code = f"import sys, importlib\nfor name in {names}: importlib.import_module(name)\n"
    code += "from videossr.tasks.base import TASKS, open_task\nfor name in TASKS.names(): open_task(name)\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "videossr.tasks.jigsaw" in loaded
    assert not loaded & {"scipy", "matplotlib", "torch"}


def test_public_names_are_listed_and_documented() -> None:
    assert videossr.__all__ == PUBLIC
    for name in PUBLIC:
        value = getattr(videossr, name)
        assert value.__name__ == name
        assert value.__doc__, name
    assert {*PUBLIC, "__version__"} <= set(dir(videossr))
    with pytest.raises(AttributeError, match="'Sampel'"):
        _ = videossr.Sampel  # type: ignore[attr-defined]  # a type checker sees the typo too


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short_have_docstrings_and_do_not_print(module: str) -> None:
    text = MODULES[module].read_text("utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree), f"{module} has no docstring"
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    printed = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not printed, f"{module} prints on lines {printed}"
