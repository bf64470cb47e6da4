"""Write all settings, with their bounds, into docs/reference/recipe.md and training.md: `python docs/settings.py`.

What verl makes of each goes into docs/how-to/verl.md.

The tables come from the pydantic models that check a recipe or a training configuration, so they show what is really
accepted. A test fails where a page is not what this writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from videossr.builder.recipe import CategorySpec, Recipe
from videossr.tasks.counting import Counting
from videossr.tasks.grounding import Grounding
from videossr.tasks.jigsaw import Jigsaw
from videossr.training.config import (
    DataConfig,
    GrpoConfig,
    LogConfig,
    Lora,
    ModelConfig,
    OptimConfig,
    RunSettings,
    SetConfig,
)
from videossr.verl.rules import RULES

REFERENCE = Path(__file__).parent / "reference"
BEGIN, END = "<!-- settings: written by docs/settings.py -->\n", "<!-- end of settings -->\n"

PAGES: Mapping[str, Mapping[str, type]] = {
    "recipe.md": {
        "Recipe": Recipe,
        "Category: `[categories.NAME]`": CategorySpec,
        "Task `grounding`": Grounding.Config,
        "Task `counting`": Counting.Config,
        "Task `jigsaw`": Jigsaw.Config,
    },
    "training.md": {
        "Model: `model`": ModelConfig,
        "Adapters: `model.lora`": Lora,
        "Data: `data`": DataConfig,
        "One of several sets: `data.sets.NAME`": SetConfig,
        "Run: `run`": RunSettings,
        "GRPO: `grpo`": GrpoConfig,
        "Optimizer: `optim`": OptimConfig,
        "Records: `log`": LogConfig,
    },
}
"""The pages with tables of settings, and the dataclass behind each table by its title."""

UNITS = {"number": "a number", "integer": "a whole number", "string": "text", "boolean": "true or false"}

Schema = Mapping[str, Any]


def page(text: str, parts: Mapping[str, type]) -> str:
    """Replace what stands between `BEGIN` and `END` in a page by the tables of today.

    Args:
        text: the page as it is.
        parts: the dataclass behind each table, by the table's title.
    """
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(section(*part) for part in parts.items()) + "\n" + END + after


def verl_page(text: str) -> str:
    """Replace what stands between `BEGIN` and `END` in docs/how-to/verl.md by the rules of today."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = ["| key | | what verl does |", "|---|---|---|"]
    lines += [f"| `{key}` | {rule.kind} | {rule.words} |" for key, rule in RULES.items()]
    return before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after


def section(title: str, kind: type) -> str:
    """Render the settings of one pydantic dataclass as a Markdown section."""
    schema = TypeAdapter(kind).json_schema()
    lines = [f"### {title}", "", "| key | values | default | meaning |", "|---|---|---|---|"]
    lines += (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows(schema, schema, ""))
    lines += (f"\n{rule}" for rule in rules(kind))
    return "\n".join(lines) + "\n"


def rows(schema: Schema, whole: Schema, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, values, default and meaning of each setting: the required ones first, tables within last."""
    required = schema.get("required", ())
    fields = [(name, field, resolved(field, whole)) for name, field in schema["properties"].items()]
    for name, field, inner in sorted(fields, key=lambda entry: ("properties" in entry[2], entry[0] not in required)):
        if "properties" in inner:
            yield from rows(inner, whole, f"{prefix}{name}.")
            continue
        default = "required" if name in required else f"`{json.dumps(field.get('default', {}), ensure_ascii=False)}`"
        yield f"`{prefix}{name}`", values(inner), default, field.get("description", "")


def resolved(field: Schema, whole: Schema) -> Schema:
    """Follow a reference to another part of the schema."""
    target: Schema = whole["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
    return target


def values(field: Schema) -> str:
    """Say which values a setting takes."""
    if "anyOf" in field:  # one kind of value, or none
        return " ".join("or none" if kind.get("type") == "null" else values(kind) for kind in field["anyOf"])
    if "$ref" in field:
        return "a table"
    if "enum" in field:
        return " ".join(f"`{value}`" for value in field["enum"])
    if "prefixItems" in field:
        first, *others = (values(item) for item in field["prefixItems"])
        return f"{len(others) + 1} values, each {first}" if {first} >= set(others) else ", ".join([first, *others])
    if field["type"] == "array":
        least = f", {field['minItems']} or more" if "minItems" in field else ""
        return f"a list of {values(field['items']).removeprefix('a ')}{least}"
    if field["type"] == "object":
        return "a table"
    return UNITS[field["type"]] + bounds(field)


def bounds(field: Schema) -> str:
    """Say how small and how large a number may be."""
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    words = [
        f"{words} {value}"
        for words, value in (("at least", low), ("above", above), ("at most", high), ("below", below))
        if value is not None
    ]
    return " " + " and ".join(words) if words else ""


def rules(kind: type) -> Iterator[str]:
    """Yield the rules beyond the bounds: the docstrings of the validators of a model and of its parts."""
    decorators = vars(kind)["__pydantic_decorators__"]
    for validator in [*decorators.field_validators.values(), *decorators.model_validators.values()]:
        yield re.sub(r"\s+", " ", validator.func.__doc__).strip()
    for field in vars(kind)["__pydantic_fields__"].values():
        if hasattr(field.annotation, "__pydantic_decorators__"):
            yield from rules(field.annotation)


if __name__ == "__main__":
    for name, parts in PAGES.items():
        path = REFERENCE / name
        path.write_text(page(path.read_text("utf-8"), parts), "utf-8")
    verl = REFERENCE.parent / "how-to/verl.md"
    verl.write_text(verl_page(verl.read_text("utf-8")), "utf-8")
