"""The one exception for a user's mistake. Its text is a sentence: what was expected, what was found, what to do."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input from the user. Shown as it stands: beside the widget in the app, on stderr on the command line."""


class Diverged(UserError):
    """Training left the numbers. The best model before it is kept."""

    def __init__(self) -> None:
        super().__init__(
            "The loss is no longer a number. Choose lower learning rates (autoencoder_rate, dynamics_rate) or smaller "
            "loss weights, and start again; the model of the best round, if one had ended, is kept."
        )
