"""Generate in another domain: choose the source, then transfer it (document B).

The gap between every one of --sources and the images of --dataset is measured and the
nearest source is taken; preprocessing, migration, fine-tuning and evaluation follow as
in `experiments.finetune`, with its flags. Size and channels may differ: without --size
and --channels the images get the first source's. Weights that do not fit are listed as
new. Samples are judged by their spread beside that of real images as well.

Example, which of the shipped models is nearest to 10 drawings of letters?
    python -m experiments.cross_domain --dataset=glyph_letters --limit=10
"""

from absl import flags as absl_flags

from experiments.support import console, flags, transferring

_SOURCES = absl_flags.DEFINE_list(
    "sources",
    ["mnist", "fashion_mnist", "emoji64"],
    "pretrained models, separated by commas: shipped names, .gan.npz files or run "
    "directories",
)
absl_flags.register_validator(_SOURCES.name, bool, "must name a model")
flags.adopt(*transferring.FLAGS)


def main(argv):
    """Measure the gaps, migrate, fine-tune, evaluate, write models and pictures."""
    transferring.run(argv[0], _SOURCES.value)


if __name__ == "__main__":
    console.run(main)
