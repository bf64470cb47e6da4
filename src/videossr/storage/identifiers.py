"""Types of identifiers in files that others may have written; pydantic checks them where such a file is read.

An identifier is shown, compared and copied into other files. One of these types holds no line end, no quote and no
path, so that it means the same wherever it goes.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import StringConstraints

Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hex."""

Shard: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}$")]
"""The name of a pack of a corpus: the two hex digits that the hashes of its videos start with."""

RecipeName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]
"""The name of a recipe."""

MergedName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[\w.+-]+$")]
"""The name of a recipe, or those of the recipes of merged datasets with `+` between them."""

CategoryName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[\w/-]+$")]
"""The name of a category of a recipe, such as ``grounding/mirror``."""

PluginName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]
"""The name of an installed task."""

FileName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]*$")]
"""The name of a file in a folder that we write; never that of a hidden file, a folder above or a file elsewhere."""

Line: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$", max_length=200)]
"""A short text on one line, such as the version of a library."""
