"""The exceptions of the package. `except VideoSSRError` catches all of them.

Each means that something outside the code is wrong (a file, a setting, a machine), and its message names it and the way
out; the command prints the message alone. They are also of the built-in class that such a fault has elsewhere. A caller
who passes impossible arguments to a function gets a plain `ValueError` or `TypeError` instead.
"""

from __future__ import annotations


class VideoSSRError(Exception):
    """Base of all exceptions that this package raises on purpose."""


class ConfigError(VideoSSRError, ValueError):
    """A setting, a recipe, an option or a name is wrong, or does not go with the others."""


class DataError(VideoSSRError, ValueError):
    """A file or folder that was to be read is damaged, of another version, or something else than what was expected."""


class NotFoundError(VideoSSRError, FileNotFoundError):
    """A file or folder that was named is not there."""


class CorpusError(DataError):
    """A corpus is damaged, or is not the one that a dataset was built from."""


class OutputError(VideoSSRError, ValueError):
    """A folder cannot take the output: it holds something else, a run that was begun otherwise, or a run at work."""


class UnmetError(VideoSSRError, ValueError):
    """A recipe asks for more samples than the corpus can serve."""


class TaskError(VideoSSRError, ValueError):
    """The code of a task has failed; the message names the task and what it was asked."""


class ModelError(VideoSSRError, ValueError):
    """The code of a model has failed, or does not keep its interface; the message names the model and the method."""


class ScoringError(VideoSSRError, ValueError):
    """A reward function has failed; the message names the question."""


class NothingAnsweredError(VideoSSRError, ValueError):
    """A model answered none of the questions that it was asked."""


class MissingExtraError(VideoSSRError, ImportError):
    """A library is missing; the message has the command that installs it."""


class ServerError(VideoSSRError, OSError):
    """A server refuses requests, cannot be reached, or answers what it must not."""


class WorkerError(VideoSSRError, RuntimeError):
    """Worker processes cannot be started, or keep dying."""
