"""Find the runs of public benchmarks below folders, each of which holds those of one model.

`videossr bench run NAME --out OUT` writes `OUT/NAME/FRAMES`. Exercised by `videossr report RUN... --layout paper`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from videossr.bench.public.base import BENCHMARKS
from videossr.bench.records import CONFIG, RunConfig, config_folders
from videossr.config import parse
from videossr.errors import ConfigError, DataError
from videossr.storage.parsing import load_toml
from videossr.storage.paths import AnyPath, to_path
from videossr.untrusted import plain_text


@dataclass(frozen=True, slots=True)
class ModelRuns:
    """The runs of one model.

    Attributes:
        name: of its folder.
        runs: folder of each run, by the registered name of its benchmark and its number of frames.
        note: what is odd about them; empty where nothing is.
    """

    name: str
    runs: Mapping[tuple[str, int], AnyPath]
    note: str = ""


def find_models(folders: Sequence[str]) -> list[ModelRuns]:
    """Find the runs of public benchmarks in each folder and below; runs of other questions are passed over.

    Raises:
        ConfigError: a folder has no such run, two of them ask the same benchmark at the same number of frames, or two
            folders are one.
        DataError: the configuration of a run is damaged.
    """
    places = [to_path(folder) for folder in folders]
    return [_model(folder, name, place) for folder, name, place in zip(folders, _names(places), places, strict=True)]


def _names(places: Sequence[AnyPath]) -> list[str]:
    """Name each folder, with the folder above where two are alike. Raises ConfigError where they still are."""
    parts = [tuple(plain_text(part, 60) for part in place.absolute().parts[-2:]) for place in places]
    last = Counter(part[-1] for part in parts)
    names = [part[-1] if last[part[-1]] == 1 else "/".join(part) for part in parts]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(f"{twice[0]}: two of the folders have this name; give each model a folder of its own")
    return names


def _model(folder: str, name: str, place: AnyPath) -> ModelRuns:
    runs: dict[tuple[str, int], AnyPath] = {}
    specs: dict[str, None] = {}
    notes: list[str] = []
    known = BENCHMARKS.names()
    for path in config_folders(place):
        config = _config(path)
        if config is None or config.benchmark is None:
            continue
        key = config.benchmark.name, config.benchmark.frames
        if key[0] not in known:
            unknown = plain_text(key[0], 40)
            notes.append(f"{plain_text(str(path), 80)} is left out: no installed package declares {unknown}")
            continue
        if key in runs:
            raise ConfigError(
                f"{path} and {runs[key]} are both runs of {key[0]} at {key[1]} frames; keep the runs of each model in "
                "a folder of its own, one for each benchmark and number of frames"
            )
        runs[key] = path
        specs[plain_text(config.model, 80)] = None
    if not runs:
        raise ConfigError(
            f"{folder}: there is no run of a public benchmark in it, nor in the folders below it; make one with "
            f"`videossr bench run NAME --out {folder}`"
        )
    if len(specs) > 1:
        notes.append(f"{name} holds runs of {len(specs)} models: {', '.join(specs)}")
    return ModelRuns(name, runs, "; ".join(notes))


def _config(path: AnyPath) -> RunConfig | None:
    """Read the configuration of a run of a public benchmark; None where the folder holds something else.

    Raises DataError where it is damaged.
    """
    try:
        table = load_toml(path / CONFIG)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path / CONFIG} is damaged: {error}; restore it, or move the folder away") from error
    return parse(RunConfig, table, str(path / CONFIG)) if "benchmark" in table and "questions" in table else None
