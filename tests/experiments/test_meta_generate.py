"""Few-shot generation by command: what is refused, and what is left after a seed."""

import pytest

from experiments import meta_generate
from gan_transfer import errors, pretrained

STORED = "--stored_characters"
FEW = "--test_characters=2 --validation_characters=1"


@pytest.mark.parametrize(
    ("words", "parts", "status"),
    [
        ("--methods=magic", ["--methods=magic", "context"], 1),
        ("--model=gan --methods=maml", ["--methods=maml", "reptile"], 1),
        ("--start_from=mnist", ["--start_from is for --model=gan"], 1),
        (f"--model=gan {STORED}=4", [f"{STORED} is for the VAEs"], 1),
        ("--model=gan --learning_rate=2e-3", ["--learning_rate is for the VAEs"], 1),
        ("--gan_width=4", ["--gan_width is for --model=gan"], 1),
        ("--shots=5,1", ["--shots=5,1", "rising numbers", "10"], 2),
        ("--adaptation=x", ["--adaptation=x", "rising numbers"], 2),
        ("--test_characters=500", ["cannot hold out 500"], 2),
        ("--characters=no.npz", ["'no.npz' not found"], 2),
        (f"{FEW} {STORED}=6", ["6 characters to learn from", f"lower {STORED}"], 2),
        (f"{FEW} --model=gan --start_from=emoji64", ["makes 64x64x3 images"], 2),
        (f"{FEW} {STORED}=3 --adapting=typo", ["'typo' matches no layer"], 2),
    ],
)
def test_what_cannot_work_is_refused(
    command, characters, words, parts, status, tmp_path
):
    out = tmp_path / "out"
    given = (f"--data_dir={characters.parent}", f"--out_dir={out}")
    done = command("meta_generate", *words.split(), *given)
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in parts), line
    assert not out.exists()


def test_a_vae_to_start_a_gan_from_is_refused_before_anything_is_written(
    command, characters, tmp_path, monkeypatch
):
    def refuse(source):
        raise errors.InputError(f"{source} is a VAE")

    monkeypatch.setattr(pretrained, "load_gan", refuse)
    words = *FEW.split(), "--model=gan", "--start_from=mnist"
    out = tmp_path / "out"
    given = f"--data_dir={characters.parent}", f"--out_dir={out}"
    done = command("meta_generate", *words, *given)
    assert (done.returncode, done.stderr) == (2, "error: mnist is a VAE\n")
    assert not out.exists()


def test_every_seed_that_ended_is_reported(command, characters, tmp_path, monkeypatch):
    reported = []

    def result(study, methods, directory):
        if study.split.seed == 1:
            raise errors.InputError("no power")
        return {"scratch": {}}

    monkeypatch.setattr(meta_generate, "_results", result)
    monkeypatch.setattr(
        meta_generate,
        "_report",
        lambda directory, results, splits, settings: reported.append(
            (list(results), [split.seed for split in splits])
        ),
    )
    words = *FEW.split(), f"{STORED}=3", "--methods=scratch", "--seeds=2"
    given = f"--data_dir={characters.parent}", f"--out_dir={tmp_path / 'out'}"
    done = command("meta_generate", *words, *given)
    assert (done.returncode, done.stderr) == (2, "error: no power\n")
    assert reported == [([("scratch", 0)], [0])]
