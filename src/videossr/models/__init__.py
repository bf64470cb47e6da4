"""Models that answer questions: baselines, local checkpoints, servers, people. Each file is a kind of `--model SPEC`.

transformers imports torchao where that is installed, and torchao logs warnings about its own build that no user of this
package can act on. Importing `videossr.models` hides those messages and no others.
"""

from __future__ import annotations

import logging

TORCHAO_MESSAGES = {
    "torchao": ("Failed to load ", "Skipping import of cpp extensions"),
    "torchao.kernel.intmm": ("Warning: Detected no triton",),
    "torch.utils._pytree": ("%s is an Enum subclass and is now natively supported",),
}
"""Logger -> beginnings of its hidden messages, on absent CUDA libraries and on a deprecated call in torchao."""


def _is_useful(record: logging.LogRecord) -> bool:
    """Return whether a message is none of the hidden ones."""
    return not str(record.msg).startswith(TORCHAO_MESSAGES[record.name])


for _name in TORCHAO_MESSAGES:
    logging.getLogger(_name).addFilter(_is_useful)
