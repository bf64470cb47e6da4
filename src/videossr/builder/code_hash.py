"""Hash the code of tasks and perturbations: one that was mended under the same version number gives other datasets.

Exercised by `videossr build RECIPE --corpus CORPUS --out DATASET`, run again after the code of a task has changed.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from importlib.util import resolve_name
from pathlib import Path

from videossr.dataset.manifest import PERTURBATION_CODE, TASK_CODE
from videossr.perturb import PERTURBATIONS
from videossr.tasks.base import TASKS


def code_versions(tasks: Iterable[str], perturbations: Iterable[str] = ()) -> dict[str, str]:
    """Hash the code of each task and of each perturbation, for the `versions` of a manifest.

    Args:
        tasks: names of installed tasks.
        perturbations: names of installed perturbations.

    Returns:
        `task NAME` and `perturbation NAME` -> the first 16 hexadecimal digits of `code_hash`.
    """
    kinds: dict[str, type] = {f"{TASK_CODE}{name}": TASKS.get(name) for name in sorted(set(tasks))}
    kinds |= {f"{PERTURBATION_CODE}{name}": PERTURBATIONS.get(name) for name in sorted(set(perturbations))}
    return {name: code_hash(kind)[:16] for name, kind in kinds.items()}


def code_hash(kind: type) -> str:
    """Hash the source file of a class, and of each module of its own package that it imports, directly or not.

    Modules of other packages are left out: their versions are recorded by number.

    Args:
        kind: the class of a task or of a perturbation.

    Returns:
        SHA-256 in hexadecimal. It depends on the names of the modules and on their bytes, not on where they lie.

    Raises:
        OSError: a source file cannot be read.
    """
    digest = hashlib.sha256()
    for module, path in sorted(_sources(kind.__module__).items()):
        digest.update(f"{module} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _sources(module: str) -> dict[str, Path]:
    """Find the files of `module` and of what it imports from its own package, by the modules' names."""
    sources: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in sources and (path := _file(name)) is not None:
            sources[name] = path
            if path.suffix == ".py":
                top = module.partition(".")[0]
                waiting += (imported for imported in _imports(name, path) if imported.partition(".")[0] == top)
    return sources


def _file(name: str) -> Path | None:
    """Find the file of a module without importing it; None where there is none, as for the name of a function."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
        return Path(file) if file else None
    top, *inner = name.split(".")
    for folder in getattr(sys.modules.get(top), "__path__", []):
        base = Path(folder, *inner)
        for path in (Path(f"{base}.py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _imports(name: str, path: Path) -> Iterator[str]:
    """Yield the full name of all that a source file imports; of `from a import b` both `a` and `a.b`."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
