"""Carry a pretrained GAN to other images (documents A 3.2(2), B 3.2.1).

--source is a shipped model (mnist, fashion_mnist, emoji64) or a run directory and
--dataset a name, a file or a folder of pictures. First the gap between the two is
measured, and a line says whether the transfer is advisable. Steps and augmentation are
chosen by the number of images where they are not given. --recipe is one of auto (the
default: by the number of images and the gap), scratch (copies nothing: the control),
fine_tune, freeze_discriminator, freeze_generator, scale_shift, new_head, gradual_thaw,
layerwise_rates, l2_to_source, latent_head, cross_domain_correspondence. Run it again to
continue where it was stopped.

Example, for a folder of 200 pictures of your own:
    python -m experiments.finetune --source=emoji64 --dataset=my_pictures
"""

from experiments.support import console, flags, generation, transferring

RECIPES = transferring.RECIPES
flags.adopt(*transferring.FLAGS, generation.SOURCE)


def main(argv):
    """Measure the gap, migrate, fine-tune, evaluate, write models and pictures."""
    transferring.run(argv[0], [generation.SOURCE.value])


if __name__ == "__main__":
    console.run(main)
