"""Export a generator for other programs: SavedModel, LiteRT, ONNX (document A 5.1).

Example:
    python -m experiments.export --source=mnist --format=litert --out_dir=exported
"""

import pathlib

from absl import flags as absl_flags

from experiments.support import console, flags, generation

_FORMAT = absl_flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "litert", "onnx"],
    "SavedModel folder, LiteRT (.tflite) file, or ONNX file (needs the packages "
    "tf2onnx and onnx)",
)
flags.adopt(flags.OUT_DIR, generation.SOURCE)


def main(argv):
    """Write the generator in one format."""
    with console.quiet_tensorflow():
        from gan_transfer import errors, pretrained

    network = pretrained.load(generation.SOURCE.value).averaged_generator
    folder = pathlib.Path(flags.OUT_DIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    endings = {"saved_model": "", "litert": ".tflite", "onnx": ".onnx"}
    path = folder / f"generator{endings[_FORMAT.value]}"
    kind = {"saved_model": "tf_saved_model"}.get(_FORMAT.value, _FORMAT.value)
    try:
        network.export(path, format=kind, verbose=False)
    except ImportError as error:
        raise errors.InputError(
            f"--format={_FORMAT.value} needs a package that is missing ({error}); "
            "pip install tf2onnx onnx"
        ) from error
    print(
        f"wrote {path}: latents [B, {network.inputs[0].shape[-1]}] -> images in [-1, 1]"
    )


if __name__ == "__main__":
    console.run(main)
