"""What speaks to the person at the keyboard: errors and a warning (documents A-E)."""


class InputError(ValueError):
    """Bad input from a person: a file, a shape, a name, a number (documents A-E).

    The message is one line: what is wrong, where, and what to do about it. The
    experiment scripts print it without a traceback and exit with status 2.
    """


class Diverged(InputError):
    """Training left the finite numbers (document E 3.3); the last state is kept."""

    outcome = "diverged"


class Collapsed(Diverged):
    """A generator makes the same few images (document E 3.3); the state is kept."""

    outcome = "collapsed"


class StoppedRun(UserWarning):
    """A model is loaded whose training a guard stopped (document E 3.3)."""
