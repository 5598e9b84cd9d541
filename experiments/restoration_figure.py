"""A picture of every damage: damaged, a classical method, the restorer (document A 6).

Example:
    python -m experiments.restoration_figure --out_dir=runs/figure
"""

from experiments.support import (
    console,
    figures,
    flags,
    restoration,
    restoration_methods,
    restoration_tests,
)
from gan_transfer import errors

flags.adopt(flags.DATA_DIR, flags.OUT_DIR, flags.OVERWRITE)
# Test, classical method, number of the picture in its set, top left corner of the crop.
_SHOWN = (
    ("cbsd68-noise-50", "scikit-image tv", 2, (100, 120)),
    ("set12-noise-25", "k-svd", 2, (20, 40)),
    ("set12_small-impulses-50", "scikit-image biharmonic", 0, (40, 60)),
    ("set12_small-missing-80", "scikit-image biharmonic", 5, (60, 60)),
    ("set12_small-blur-2.55", "total variation", 3, (60, 60)),
)
_SIDE = 128


def main(argv):
    """Restore, crop and draw: `restoration.png`."""
    with console.quiet_tensorflow():
        import numpy as np

        from restoration import metrics, pretrained

    methods = restoration_methods.METHODS
    for _, classical, *_ in _SHOWN:
        if not methods[classical].installed():
            raise errors.InputError(
                f"the figure shows {classical}, and {methods[classical].needs} is not "
                "installed; pip install '.[test]' brings it"
            )
    directory = restoration.open_run(argv[0])
    psnr, columns = {}, []
    for name, classical, number, (top, left) in _SHOWN:
        test = restoration_tests.TESTS[name]
        every = restoration_tests.cases(test, None)
        kernels = 8 if test.damage == "blur" else 1
        case = next(c for n, c in enumerate(every) if n == kernels * number)
        network = pretrained.load(methods["restorer"].model[test.channels])
        found = {
            "damaged": case.damaged,
            "classical": methods[classical].run(case, None),
            "restorer": methods["restorer"].run(case, network),
            "truth": case.clean,
        }
        crops = []
        for label, image in found.items():
            pixels = metrics.quantise(np.asarray(image))
            measure = metrics.psnr_rgb if test.channels == 3 else metrics.psnr_grey
            if label != "truth":
                truth = metrics.quantise(case.clean)
                psnr[f"{name}, {label}"] = measure(truth, pixels)
            crop = pixels[top : top + _SIDE, left : left + _SIDE]
            crops.append(np.broadcast_to(crop, (*crop.shape[:2], 3)))
        columns.append(crops)
    figures.pairs(
        directory.path("restoration.png"),
        [np.stack([crops[row] for crops in columns]) for row in range(4)],
        ["damaged", "classical", "restorer", "truth"],
        ", ".join(f"{name.split('-', 1)[1]} ({method})" for name, method, *_ in _SHOWN),
    )
    directory.write_summary(
        {"protocol": restoration_tests.PROTOCOL, "psnr": psnr, "shown": _SHOWN}
    )
    print(f"{directory.path('restoration.png')}")


if __name__ == "__main__":
    console.run(main)
