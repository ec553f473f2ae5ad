"""The one exception for a user's mistake. Its text is a sentence: what was expected, what was found, what to do."""

from __future__ import annotations


def is_memory(error: BaseException) -> bool:
    """Whether the memory was too small; torch says so with errors of its own."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error).lower() for words in ("out of memory", "allocate memory"))
    )


class UserError(ValueError):
    """Bad input from the user. Shown as it stands: beside the widget in the app, on stderr on the command line."""


class Diverged(UserError):
    """Training left the numbers. The best model before it is kept; the same run would only get there once more."""

    def __init__(
        self,
        sentence: str = "The loss is no longer a number, and going on with the same settings would end here again: "
        "start a new run with lower learning rates (autoencoder_rate, dynamics_rate), finer steps or another solver "
        "(steps_per_interval, method), or smaller loss weights; the model of the best round, if one had ended, is "
        "kept.",
    ) -> None:
        super().__init__(sentence)


class Lost(Diverged):
    """The fields of a fit carry cells out of the numbers."""

    def __init__(self) -> None:
        super().__init__("The fitted fields carry cells to where positions or masses are no longer numbers.")
