"""Export a model: SavedModel, LiteRT, ONNX, or one weight file (document A 5.1).

Example:
    python -m experiments.export --source=mnist --format=litert --out_dir=exported
"""

import pathlib

from absl import flags as absl_flags

from experiments.support import console, flags, generation

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
    folder = pathlib.Path(flags.OUT_DIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    if _FORMAT.value == "weights":
        path = folder / "model.gan.npz"
        pretrained.save(gan, path, pretrained.describe(source))
        print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")
        return
    kind, ending = _KINDS[_FORMAT.value]
    path = folder / f"generator{ending}"
    try:
        gan.averaged_generator.export(path, format=kind, verbose=False)
    except ImportError as error:
        raise errors.InputError(
            f"--format={_FORMAT.value} needs a package that is missing ({error}); "
            "pip install tf2onnx onnx"
        ) from error
    print(f"wrote {path}: latents [B, {gan.latent_dim}] -> images in [-1, 1]")


if __name__ == "__main__":
    console.run(main)
