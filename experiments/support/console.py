"""How a script meets the person who typed the command: errors, exit codes, silence."""

import contextlib
import errno
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence

from absl import app
from absl import flags as absl_flags

from experiments.support import flags
from experiments.support import run as run_directories
from gan_transfer import errors

_REMEDIES = {
    errno.ENOSPC: "; free some space and run the same command again",
    errno.EDQUOT: "; free some space and run the same command again",
    errno.EACCES: "; allow it, or write elsewhere (--out_dir, --output)",
    errno.EROFS: "; write elsewhere (--out_dir, --output)",
}
BAD_INPUT = 2
INTERRUPTED = 130  # what shells report for a process that SIGINT ended


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Parses the flags, calls `main(argv)` and exits with its status.

    Bad input and trouble with files end in one line on stderr and status 2,
    wrong flags in one line and status 1, Ctrl-C in one line and status 130. Any
    other exception is a defect and keeps its traceback. That a model's training was
    stopped is a note of one line on stderr.
    """

    def guarded(arguments: Sequence[str]) -> int | None:
        try:
            flags.settle(arguments)
            with warnings.catch_warnings():
                warnings.simplefilter("always", errors.StoppedRun)
                warnings.showwarning = _noting(warnings.showwarning)
                return main(arguments)
        except absl_flags.Error as error:
            return _fail(f"error: {error}", 1)
        except errors.InputError as error:
            return _fail(f"error: {error}", BAD_INPUT)
        except OSError as error:
            remedy = _REMEDIES.get(error.errno, "")
            return _fail(f"error: {describe(error)}{remedy}", BAD_INPUT)
        except KeyboardInterrupt:
            return _fail("stopped; run the same command again to continue", INTERRUPTED)
        finally:
            run_directories.release()

    app.run(guarded)


def describe(error: OSError) -> str:
    """Says in one line what the system refused, and for which file."""
    if error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Imports TensorFlow without its banner; wrap the other heavy imports in it.

    TensorFlow writes the banner from C++ before any log level counts, so file
    descriptor 2 itself points elsewhere meanwhile. What was written appears after
    all when the block raises.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        failed = True
        try:
            import tensorflow as tf

            # The first look at the devices complains too, on a machine without one.
            tf.config.list_physical_devices()
            # This fusion fails on the gradients of convolution and LeakyReLU, says so
            # once per process, and brings nothing on a CPU.
            tf.config.optimizer.set_experimental_options({"remapping": False})
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            if failed:
                captured.seek(0)
                with os.fdopen(os.dup(2), "wb") as terminal:
                    shutil.copyfileobj(captured, terminal)


def _noting(show: Callable[..., None]) -> Callable[..., None]:
    """`warnings.showwarning` that says a `StoppedRun` without place and source line."""

    def shown(message, category, *place):
        if issubclass(category, errors.StoppedRun):
            print(f"note: {message}", file=sys.stderr)
        else:
            show(message, category, *place)

    return shown


def _fail(message: str, status: int) -> int:
    sys.stdout.flush()
    print(message, file=sys.stderr)
    return status
