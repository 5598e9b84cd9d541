"""Export a model: SavedModel, LiteRT, ONNX, or one weight file (document A 5.1).

Example:
    python -m experiments.export --source=mnist --format=litert --out_dir=exported
"""

import importlib.util
import pathlib
import tempfile

from absl import flags as absl_flags

from experiments.support import console, flags, generation, run

_FORMAT = absl_flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "litert", "onnx", "weights"],
    "the averaged generator as SavedModel folder, LiteRT (.tflite) file or ONNX file "
    "(needs the packages tf2onnx and onnx); or all networks as the .gan.npz file that "
    "the package ships and --source takes",
)
flags.adopt(flags.OUT_DIR, generation.SOURCE)

# What Keras calls each format, and the ending of its file.
_KINDS = {
    "saved_model": ("tf_saved_model", ""),
    "litert": ("litert", ".tflite"),
    "onnx": ("onnx", ".onnx"),
}


def main(argv):
    """Write the generator in one format."""
    with console.quiet_tensorflow():
        from gan_transfer import errors, pretrained

    source = generation.SOURCE.value
    gan = pretrained.load(source)
    if _FORMAT.value == "weights":
        description = pretrained.describe(source)
        path = run.make_folder(flags.OUT_DIR.value) / "model.gan.npz"
        pretrained.save(gan, path, description)
        print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")
        return
    needed = {"onnx": ("tf2onnx", "onnx")}.get(_FORMAT.value, ())
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.InputError(
            f"--format={_FORMAT.value} needs packages that are missing; "
            f"pip install {' '.join(missing)}"
        )
    path = _export(gan.sampler, run.make_folder(flags.OUT_DIR.value))
    print(f"wrote {path}: latents [B, {gan.latent_dim}] -> images in [-1, 1]")


def _export(network, folder: pathlib.Path) -> pathlib.Path:
    """Write the network beside its place, then move it there."""
    from gan_transfer import errors

    kind, ending = _KINDS[_FORMAT.value]
    path = folder / f"generator{ending}"
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise errors.InputError(
            f"{path}: a folder that is no SavedModel stands there; nothing was "
            "touched, give another --out_dir"
        )
    with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=folder) as scratch:
        written = pathlib.Path(scratch, path.name)
        network.export(str(written), format=kind, verbose=False)
        if path.is_dir():
            path.rename(pathlib.Path(scratch, "old"))
        written.replace(path)
    return path


if __name__ == "__main__":
    console.run(main)
