"""Write the card of a dataset, its `README.md`, with the header that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from videossr.dataset.manifest import Manifest
from videossr.untrusted import markdown_cell, markdown_code

_CARD = """\
---
{{ header -}}
---

# {{ recipe.name | text }}

{{ recipe.summary | text }}

{{ samples }} questions about {{ videos }} videos, made by videossr {{ versions.videossr | text }}.
Every answer is known by construction: a sample is a recipe that `videossr` renders from the frame packs of its corpus.

| category | samples | videos admitted |
|---|---|---|
{% for name, category in categories.items() -%}
| {{ name | code }} | {{ category.samples }} | {{ category.admitted }} |
{% endfor %}
One video serves {{ most_used }} sample{{ "s" if most_used != 1 else "" }} at the most.

```python
import datasets

rows = datasets.load_dataset("parquet", data_files="samples-*.parquet", split="train")  # texts, answers, recipes

from videossr import VideoSSRDataset

items = VideoSSRDataset(".")  # with frames
```

{% if origin -%}
{{ "Merged from" if origin.verb == "merge" else "Split off" }} the dataset
{{- "s" if origin.of | length > 1 else "" }} with the hash{{ "es" if origin.of | length > 1 else "" }}
{% for part in origin.of %}`{{ part.hash }}`{{ ", " if not loop.last else "" }}{% endfor %}.
The frames are in the corpus with the hash `{{ corpus.hash }}`.
{% else -%}
{% if "source" in corpus -%}
This is a benchmark: the frames are in `corpus/`, and the hash `{{ hash }}` stands for every question, answer and pixel.
{% endif -%}
Rebuild it from the corpus with the hash `{{ corpus.get("source", corpus.hash) }}`
{%- if excluded %}, kept apart from the datasets with the hashes {{ excluded | join(", ") }} (`--exclude`){% endif %}:
`videossr build config.toml --templates templates.toml --seed {{ seed }} --corpus CORPUS --out DATASET`
{% endif -%}
"""


def card(manifest: Manifest) -> str:
    """Write the card of a dataset in Markdown, from its manifest alone."""
    header = card_header(
        manifest["recipe"]["name"], configs=[{"config_name": "default", "data_files": "samples-*.parquet"}]
    )
    return render_card(_CARD, {**manifest, "header": header})


def render_card(template: str, facts: Mapping[str, Any]) -> str:
    """Fill in a template of Markdown, which has the filters `code` and `text` for what others have named."""
    environment = Environment(autoescape=False, keep_trailing_newline=True, undefined=StrictUndefined)
    environment.filters |= {"code": markdown_code, "text": markdown_cell}
    return environment.from_string(template).render(facts)


def card_header(name: str, **more: object) -> str:
    """Write what the hub reads of a card, in YAML.

    Args:
        name: of the dataset, as people read it.
        more: further keys.
    """
    header = {
        "pretty_name": name,
        "task_categories": ["video-text-to-text"],
        "tags": ["video", "self-supervised", "videossr"],
        **more,
    }
    return yaml.safe_dump(header, sort_keys=False)
