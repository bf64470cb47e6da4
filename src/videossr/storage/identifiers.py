"""Types of identifiers and counts in files of others; pydantic checks them where such a file is read.

An identifier is shown, compared and copied into other files. None of these types admits line ends or other control
characters, and all but `Line` admit letters, digits and few signs alone.
"""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints


def _check_size(value: float) -> float:
    """Raise ValueError for a finite number beyond 1e100."""
    if math.isfinite(value) and abs(value) > 1e100:
        raise ValueError(f"is a number beyond 1e100: {value:g}")
    return value


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

Count: TypeAlias = Annotated[int, Field(ge=0, le=10**15)]
"""How many there are of something, or how long it is."""

Number: TypeAlias = Annotated[float, AfterValidator(_check_size)]
"""A measured number, or nan or infinity; else of a size of which sums and squares are floats too."""

Line: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$", max_length=200)]
"""A short text on one line, such as the version of a library."""
