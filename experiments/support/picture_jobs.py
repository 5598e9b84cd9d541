"""Pictures that a command restores: one file or a folder of them, and what it reports.

Import it at the top for the flags; TensorFlow and the networks are imported inside the
functions, after the flags are checked.
"""

import collections
import contextlib
import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import flags as absl_flags

from experiments.support import convergence, flags, strip
from gan_transfer import errors, picture_files, pictures

INPUT = absl_flags.DEFINE_string(
    "input",
    None,
    "picture, or folder of pictures; sub-folders are left out, and so are NAME_mask, "
    "NAME_before_after and NAME_convergence beside NAME",
)
OUTPUT = absl_flags.DEFINE_string(
    "output",
    None,
    "file to write, its suffix is the format (of score: .csv); or folder, for files of "
    "the same names",
)
MASK = absl_flags.DEFINE_string(
    "mask",
    None,
    "picture of the same size, white = missing; or folder with a mask for each "
    "picture, called NAME_mask or like the picture",
)
MASK_INVERT = absl_flags.DEFINE_boolean(
    "mask_invert", False, "black, or with --mask_alpha the opaque, is missing instead"
)
MASK_ALPHA = absl_flags.DEFINE_boolean(
    "mask_alpha",
    False,
    "the transparent pixels of --input are missing; the output is opaque",
)
STRIP = absl_flags.DEFINE_boolean(
    "strip",
    True,
    "write NAME_before_after.png beside each output, and NAME_convergence.png where "
    "the method iterates",
)
MASK_FLAGS = (MASK, MASK_INVERT, MASK_ALPHA)
FLAGS = (INPUT, OUTPUT, STRIP, flags.OVERWRITE)
KINDS = {1: "grey", 3: "colour"}
_BEFORE_AFTER, _CONVERGENCE, _MASK = "_before_after", "_convergence", "_mask"
_READ_ONLY = ".gif"


@dataclasses.dataclass(frozen=True, eq=False)
class Restored:
    """What became of one picture.

    Attributes:
        pixels: float `[H, W, C]` in [0, 1], clipped when written.
        remarks: what the line about the picture says besides.
        record: of `iterative.minimise`; empty for a method that does not iterate.
    """

    pixels: np.ndarray
    remarks: Sequence[str] = ()
    record: Sequence[dict[str, float]] = ()


Restore = Callable[[np.ndarray, np.ndarray | None], Restored]


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture: where it lies, and where its restoration goes.

    Attributes:
        source: the picture.
        target: the file to write.
        strip: the file for before and after, or None.
        convergence: the file for the plot of a method that iterates, or None.
        mask: the file of the mask; None where none was asked for or found.
    """

    source: pathlib.Path
    target: pathlib.Path
    strip: pathlib.Path | None
    convergence: pathlib.Path | None
    mask: pathlib.Path | None


def plan(*needed: absl_flags.FlagHolder, iterates: bool = False) -> list[Job]:
    """Lists what is to be done, and refuses what would destroy files.

    Args:
        *needed: flags that must be given, beside --input and --output.
        iterates: whether `Restored` may hold a record.

    Raises:
        absl.flags.Error: flags that are missing or exclude each other.
        errors.InputError: no pictures; outputs that are inputs, exist already, or would
            be written twice.
    """
    flags.require(INPUT, OUTPUT, *needed)
    if MASK.value and MASK_ALPHA.value:
        raise absl_flags.Error("give --mask or --mask_alpha, not both")
    if MASK_INVERT.value and not (MASK.value or MASK_ALPHA.value):
        raise absl_flags.Error(
            "--mask_invert has no effect without --mask or --mask_alpha: leave it out"
        )
    source, output = pathlib.Path(INPUT.value), pathlib.Path(OUTPUT.value)
    if source.is_dir():
        found = listing(source)
        if _is_picture_name(output) and not output.is_dir():
            raise errors.InputError(
                f"{output}: names a file, but --input is a folder; give a folder"
            )
        pairs = [(path, output / _output_name(path)) for path in found]
    elif source.exists():
        is_folder = output.is_dir()
        pairs = [(source, output / _output_name(source) if is_folder else output)]
    else:
        raise errors.InputError(f"{source}: no such picture or folder; check --input")
    jobs = [_job(*pair, iterates) for pair in pairs]
    given = [pathlib.Path(holder.value) for holder in needed]
    _refuse_damage(jobs, given)
    return jobs


def listing(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the pictures of a folder, sorted.

    What a command writes beside a picture NAME is left out, and so is NAME_mask.

    Raises:
        errors.InputError: no picture.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if _is_picture_name(path) and path.is_file() and not path.name.startswith(".")
    ]
    if not found:
        raise errors.InputError(
            f"{folder}: holds no pictures ({', '.join(picture_files.EXTENSIONS)})"
        )
    stems = {path.stem for path in found}
    return [path for path in found if not _is_beside(path.stem, stems)]


def run(jobs: Sequence[Job], restore: Restore) -> int:
    """Restores all pictures, one line for each, and returns the exit status.

    Args:
        jobs: of `plan`.
        restore: (pixels, mask) -> `Restored`; pixels float32 `[H, W, C]` in [0, 1],
            mask `[H, W, 1]`, 1 = missing, or None.

    Returns:
        0; or 1 where pictures of a folder could not be restored, which are named.

    Raises:
        errors.InputError: a single picture could not be restored.
    """
    if any(job.target.suffix.lower() in (".jpg", ".jpeg") for job in jobs):
        print("note: JPEG loses a little at every saving; .png keeps everything")
    if not pathlib.Path(INPUT.value).is_dir():
        _process(jobs[0], restore, "")
        return 0
    failed = []
    with _output_folder():
        for number, job in enumerate(jobs, start=1):
            try:
                _process(job, restore, f"[{number}/{len(jobs)}] ")
            except errors.InputError as error:
                sys.stdout.flush()
                print(f"error: {error}", file=sys.stderr)
                failed.append(job.source.name)
    if failed:
        done = len(jobs) - len(failed)
        print(
            f"error: {done} of {len(jobs)} pictures restored, not {', '.join(failed)}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _is_picture_name(path: pathlib.Path) -> bool:
    return path.suffix.lower().lstrip(".") in picture_files.EXTENSIONS


def _is_beside(stem: str, stems: set[str]) -> bool:
    tails = (_MASK, _BEFORE_AFTER, _CONVERGENCE)
    return any(stem.endswith(t) and stem.removesuffix(t) in stems for t in tails)


def _output_name(source: pathlib.Path) -> str:
    readable_only = source.suffix.lower() == _READ_ONLY
    return f"{source.stem}.png" if readable_only else source.name


def _job(source: pathlib.Path, target: pathlib.Path, iterates: bool) -> Job:
    tails = {_BEFORE_AFTER: STRIP.value, _CONVERGENCE: STRIP.value and iterates}
    beside = [
        target.with_name(f"{target.stem}{tail}.png") if wanted else None
        for tail, wanted in tails.items()
    ]
    return Job(source, target, *beside, _find_mask(source) if MASK.value else None)


def _find_mask(source: pathlib.Path) -> pathlib.Path | None:
    """--mask, or in such a folder NAME_mask of any suffix, else the picture's name."""
    given = pathlib.Path(MASK.value)
    if not given.is_dir():
        return given
    pattern = f"{source.stem}{_MASK}"
    found = sorted(path for path in given.iterdir() if path.stem == pattern)
    found += [given / source.name]
    there = [path for path in found if path.is_file() and not path.samefile(source)]
    return there[0] if there else None


def _refuse_damage(jobs: list[Job], given: list[pathlib.Path]) -> None:
    inputs = {path.resolve() for path in given}
    for job in jobs:
        inputs |= {path.resolve() for path in (job.source, job.mask) if path}
    files = [(job.target, job.strip, job.convergence) for job in jobs]
    outputs = [path for each in files for path in each if path]
    for path in outputs:
        if path.resolve() in inputs:
            raise errors.InputError(
                f"{path}: is an input, which is never replaced; give another --output"
            )
    for path, count in collections.Counter(outputs).items():
        if count > 1:
            raise errors.InputError(
                f"{path}: would be written {count} times, for pictures that differ in "
                "their suffix only; rename them"
            )
    there = [path for path in outputs if path.exists()]
    if there and not flags.OVERWRITE.value:
        more = f" (and {len(there) - 1} more)" if there[1:] else ""
        raise errors.InputError(
            f"{there[0]}: exists already{more}; add --overwrite, or give another "
            "--output"
        )


@contextlib.contextmanager
def _output_folder() -> Iterator[None]:
    """Makes --output; takes it away again if nothing was written there."""
    folder = pathlib.Path(OUTPUT.value)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.InputError(
            f"{folder}: this folder cannot be made ({error.strerror}); give another "
            "--output"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


def _process(job: Job, restore: Restore, label: str) -> None:
    start = time.monotonic()
    picture = pictures.read(job.source)
    mask = _read_mask(job, picture)
    if MASK_ALPHA.value:
        picture = dataclasses.replace(picture, alpha=None)
    for note in pictures.check_output(job.target, picture):
        print(f"note: {note}")
    height, width, channels = picture.pixels.shape
    share = "" if mask is None else f", {pictures.missing_share(mask):.2%} missing"
    about = f"{width}x{height} {KINDS[channels]}, {picture.bits} bits{share}"
    print(f"{label}{job.source.name}: {about}", end="", flush=True)
    try:
        restored = _restored(job, restore, picture.pixels, mask)
        pictures.write(job.target, picture, restored.pixels)
        if job.strip is not None:
            strip.write(job.strip, picture.pixels, restored.pixels, mask)
        if job.convergence is not None and restored.record:
            convergence.write(job.convergence, job.source.name, restored.record)
        print("".join(f", {each}" for each in restored.remarks), end="")
        print(f"; {time.monotonic() - start:.1f} s -> {job.target}", end="")
    finally:
        print(flush=True)


def _restored(job: Job, restore: Restore, pixels, mask) -> Restored:
    """What `restore` returns; its errors, which know no file, name the picture."""
    try:
        return restore(pixels, mask)
    except errors.InputError as error:
        raise errors.InputError(f"{job.source}: {error}") from error


def _read_mask(job: Job, picture: pictures.Picture) -> np.ndarray | None:
    if not (MASK.value or MASK_ALPHA.value):
        return None
    if MASK.value and job.mask is None:
        name = f"{job.source.stem}{_MASK}.png"
        raise errors.InputError(
            f"{job.source}: {MASK.value} holds no mask for it; add {name} there"
        )
    return pictures.read_mask(
        job.source if MASK_ALPHA.value else job.mask,
        shape=picture.pixels.shape[:2],
        invert=MASK_INVERT.value,
        from_alpha=MASK_ALPHA.value,
    )
