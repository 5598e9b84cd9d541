"""Pictures of a trained GAN: grids, interpolations, pairs, a GIF (document A 3.2(3)).

Example:
    python -m experiments.sample --source=mnist --kind=interpolation
"""

from absl import flags as absl_flags

from experiments.support import console, figures, flags, generation, run, sheet

_OTHER = absl_flags.DEFINE_string(
    "other", None, "second model for --kind=pairs: the target of a transfer"
)
_KIND = absl_flags.DEFINE_enum(
    "kind",
    "grid",
    ["grid", "interpolation", "pairs", "gif"],
    "grid of samples; rows between two latents; source above --other from equal "
    "latents; an animated walk through latents",
)
_LABEL = absl_flags.DEFINE_integer(
    "label", None, "class to draw (conditional models only)", lower_bound=0
)
flags.adopt(flags.COUNT, flags.OUT_DIR, flags.SEED, generation.SOURCE)
_FRAMES = 12


def main(argv):
    """Draw one kind of picture."""
    with console.quiet_tensorflow():
        from gan_transfer import data, errors, pretrained, sampling

    other_is_used, count_is_used = _KIND.value == "pairs", _KIND.value != "gif"
    for holder, used in ((_OTHER, other_is_used), (flags.COUNT, count_is_used)):
        if flags.differs(holder) and not used:
            raise absl_flags.Error(
                f"--{holder.name} has no effect on --kind={_KIND.value}: leave it out"
            )
    gan = pretrained.load(generation.SOURCE.value)
    seed, count = flags.SEED.value, flags.COUNT.value or 64
    about = f"{generation.SOURCE.value}, seed {seed}"

    def draw(latents, model=gan):
        return data.to_uint8(model.decode(latents, _LABEL.value))

    def latents(number):
        return sampling.sample_latents(number, gan.latent_dim, seed)

    def target(name):
        return run.make_folder(flags.OUT_DIR.value) / name

    if _KIND.value == "grid":
        samples = draw(latents(count))
        path = target("grid.png")
        figures.sample_grid(path, samples, f"samples of {about}")
    elif _KIND.value == "interpolation":
        columns = min(count, _FRAMES)
        walk = _walk(draw, latents(2 * columns), columns)
        path = target("interpolation.png")
        figures.sample_grid(
            path,
            walk,
            f"{about}: rows walk from one latent towards another along the sphere",
            columns=columns,
        )
    elif _KIND.value == "pairs":
        if _OTHER.value is None:
            raise errors.InputError("--kind=pairs needs --other, the transferred model")
        other = pretrained.load(_OTHER.value)
        if other.latent_dim != gan.latent_dim:
            raise errors.InputError(
                f"{_OTHER.value} has {other.latent_dim} latents, "
                f"{generation.SOURCE.value} {gan.latent_dim}: pairs need equal latents"
            )
        chosen = latents(min(count, 16))
        rows = [draw(chosen), draw(chosen, other)]
        path = target("pairs.png")
        figures.pairs(
            path,
            rows,
            [generation.SOURCE.value, _OTHER.value],
            f"equal latents, seed {seed}",
        )
    else:
        stops = latents(8 * 16).reshape(8, 16, -1)
        frames = [
            sheet.tile(draw(between), 4)
            for first, second in zip(stops, stops[[*range(1, 8), 0]], strict=True)
            for between in _spherical(first, second, _FRAMES)
        ]
        path = target("walk.gif")
        captions = [f"samples of {about}"] * len(frames)
        figures.gif(path, frames, 80, captions=captions)
    print(f"wrote {path}")


def _walk(draw, latents, columns: int):
    """Images `[columns * columns, H, W, C]`: rows between latents `[2 columns, D]`.

    Each call of `draw` makes one column, so that a row keeps its class.
    """
    import numpy as np

    first, second = latents[:columns], latents[columns:]
    made = [draw(step) for step in _spherical(first, second, columns)]
    return np.concatenate(np.stack(made, axis=1))


def _spherical(first, second, count: int):
    """Points `[count, N, D]` on arcs from latents `[N, D]` towards others, excluded."""
    import numpy as np

    t = (np.arange(count, dtype=np.float32) / count)[:, None, None] * (np.pi / 2)
    return np.cos(t) * first + np.sin(t) * second


if __name__ == "__main__":
    console.run(main)
