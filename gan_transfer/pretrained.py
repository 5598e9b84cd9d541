"""Pretrained models by name or run directory (documents A 3.1 step 1, B 2.1).

`load("mnist").generate(64, seed=0)` works offline: the weights lie in
`gan_transfer/weights/`, with their data, licence and numbers in its README.
"""

import json
import os
import pathlib
import warnings

import keras

from gan_transfer import adversarial, archive, errors, sampling, variational

# Importing these registers the custom layers that saved models name.
from gan_transfer import regularization as _regularization  # noqa: F401
from gan_transfer import transfer as _transfer  # noqa: F401
from gan_transfer.networks import attention as _attention  # noqa: F401

WEIGHTS = pathlib.Path(__file__).parent / "weights"
DESCRIBED = (
    "model",
    "width",
    "latent_dim",
    "size",
    "channels",
    "classes",
    "dataset",
)
# Procedure -> the networks it is made of.
_KINDS = {
    adversarial.GAN: ("generator", "discriminator", "averaged_generator"),
    variational.VAE: ("encoder", "decoder"),
}


def names() -> list[str]:
    """Names of the shipped models (document B 2.1)."""
    return sorted(
        path.name.removesuffix(".gan.npz") for path in WEIGHTS.glob("*.gan.npz")
    )


def load(source: str | os.PathLike) -> sampling.Generative:
    """Load a GAN or VAE: shipped name, `.gan.npz` file or run directory (B 2.1).

    Of a run that a guard stopped it warns (`StoppedRun`).

    Raises:
        InputError: no such model, or a run that has not finished.
    """
    path = _path(source)
    if path.is_dir():
        warn_if_stopped(path)
        vae = (path / "encoder.keras").exists()
        parts = _KINDS[variational.VAE if vae else adversarial.GAN]
        networks = {name: load_network(path / f"{name}.keras") for name in parts}
    else:
        networks, _ = archive.load(path)
    found = [kind for kind, parts in _KINDS.items() if set(networks) == set(parts)]
    if not found:
        raise errors.InputError(f"{path} holds no GAN or VAE but {', '.join(networks)}")
    if found[0] is adversarial.GAN:
        return adversarial.GAN(**networks)
    likelihood = variational.LIKELIHOODS[describe(path)["likelihood"]]
    return variational.VAE(**networks, likelihood=likelihood)


def load_gan(source: str | os.PathLike) -> adversarial.GAN:
    """`load` for what needs a discriminator (document B 2.1).

    Raises:
        InputError: no such model, or a VAE.
    """
    model = load(source)
    if not isinstance(model, adversarial.GAN):
        raise errors.InputError(
            f"{source} is a VAE, and this needs a GAN: a shipped name or a run of "
            "pretrain or finetune; VAEs go on by pretrain_vae --start_from"
        )
    return model


def describe(source: str | os.PathLike) -> dict:
    """What a model is: preset, sizes, data, numbers (document B 2.1).

    Returns:
        `model`, `width`, `latent_dim`, `size`, `channels`, `classes`, `dataset` and
        more, as its training run wrote them.

    Raises:
        InputError: no such model.
    """
    path = _path(source)
    if not path.is_dir():
        metadata = archive.load_metadata(path)
        if "description" not in metadata:
            raise errors.InputError(
                f"{path} holds no GAN; `pretrained.save` writes one"
            )
        return _complete(path, json.loads(metadata["description"]))
    try:
        summary = json.loads((path / "summary.json").read_text())
        return _complete(path, summary["description"])
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise errors.InputError(
            f"{path} is no finished run (no usable summary.json: {error}); run its "
            "command again until it ends"
        ) from error


def _complete(path: pathlib.Path, description: dict) -> dict:
    missing = [key for key in DESCRIBED if key not in description]
    if missing:
        raise errors.InputError(f"the description in {path} lacks {missing[0]!r}")
    return description


def save(
    model: sampling.Generative, path: str | os.PathLike, description: dict
) -> None:
    """Write a model and its description to one `.gan.npz` file (document B 2.1).

    Weights are stored as float16 where that is needed to stay below 6 MB.
    """
    networks = model.stored_networks()
    count = sum(network.count_params() for network in networks.values())
    archive.save(
        path,
        networks,
        dtype="float32" if 4 * count < 6e6 else "float16",
        metadata={"description": json.dumps(description, sort_keys=True)},
    )


def _path(source: str | os.PathLike) -> pathlib.Path:
    shipped = WEIGHTS / f"{source}.gan.npz"
    for path in (shipped, pathlib.Path(source)):
        if path.exists():
            return path
    raise errors.InputError(
        f"no pretrained model {str(source)!r}: it is neither a run directory, nor a "
        f".gan.npz file, nor one of {', '.join(names())}"
    )


def warn_if_stopped(path: pathlib.Path) -> None:
    """Warn, as `StoppedRun`, if a guard stopped the run in this folder (E 3.3)."""
    try:
        said = json.loads((path / "summary.json").read_text())["stopped"]
    except (OSError, TypeError, ValueError, KeyError):
        return  # it ended, or `describe` will say what is wrong
    warnings.warn(f"{path}: {said}", errors.StoppedRun, stacklevel=3)


def load_network(path: pathlib.Path) -> keras.Model:
    """Load one network of a run from its `.keras` file (document B 2.1).

    Raises:
        InputError: it is missing or cannot be loaded.
    """
    if not path.exists():
        raise errors.InputError(
            f"{path.parent} is no finished generation run: {path.name} is missing"
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise errors.InputError(f"{path} cannot be loaded: {first}") from error
