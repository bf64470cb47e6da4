"""Hash the code of tasks and perturbations: one that was mended under the same version number gives other datasets.

Exercised by `videossr build RECIPE --corpus CORPUS --out DATASET`, run again after the code of a task has changed.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path

from videossr.dataset.manifest import PERTURBATION_CODE, TASK_CODE
from videossr.perturb import PERTURBATIONS
from videossr.tasks.base import TASKS


@dataclass(frozen=True)
class SourceModule:
    """A source file: the SHA-256 of its bytes in hexadecimal, and the full names of all that it imports."""

    digest: str
    imports: tuple[str, ...]


def parse_module(name: str, path: Path) -> SourceModule:
    """Read a source file. Raises OSError, or SyntaxError where it is no Python."""
    code = path.read_bytes()
    imports = _imports(name, path, code) if path.suffix == ".py" else ()
    return SourceModule(hashlib.sha256(code).hexdigest(), tuple(imports))


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
    return {name: code_hash(kind, _parse_once)[:16] for name, kind in kinds.items()}


def _parse_once(name: str, path: Path) -> SourceModule:
    """Read a source file as `parse_module` does, once a process: most modules are shared by tasks and by builds."""
    found = path.stat()
    return _parsed(name, path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1024)
def _parsed(name: str, path: Path, _changed: int, _size: int) -> SourceModule:
    return parse_module(name, path)


def code_hash(kind: type, parse: Callable[[str, Path], SourceModule] = parse_module) -> str:
    """Hash the source file of a class, and of each module of its own package that it imports, directly or not.

    Modules of other packages are left out: their versions are recorded by number.

    Args:
        kind: the class of a task or of a perturbation.
        parse: reads a module, see `parse_module`.

    Returns:
        SHA-256 in hexadecimal. It depends on the names of the modules and on their bytes, not on where they lie.

    Raises:
        OSError: a source file cannot be read.
    """
    digest = hashlib.sha256()
    for name, module in sorted(_modules(kind.__module__, parse).items()):
        digest.update(f"{name} {module.digest}\n".encode())
    return digest.hexdigest()


def _modules(module: str, parse: Callable[[str, Path], SourceModule]) -> dict[str, SourceModule]:
    """Parse `module` and what it imports from its own package, directly or not, by the modules' names."""
    modules: dict[str, SourceModule] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in modules and (path := _file(name)) is not None:
            modules[name] = parse(name, path)
            top = module.partition(".")[0]
            waiting += (imported for imported in modules[name].imports if imported.partition(".")[0] == top)
    return modules


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


def _imports(name: str, path: Path, code: bytes) -> Iterator[str]:
    """Yield the full name of all that a source file imports; of `from a import b` both `a` and `a.b`."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(code, str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
