"""Pictures are compared seed by seed; broken ones are marked and never a saving."""

from dataclasses import replace

import pytest
import torch

from wattbench.report import runs_frame, table_of

LIMITS = {"min_psnr_db": 15.0, "min_ssim": 0.4, "max_lpips": 0.6}


@pytest.fixture
def guard(comfyui):
    from wattbench.nodes.guard import WattBenchPictureGuard

    def run(images, runs, reference_images, reference_runs):
        return WattBenchPictureGuard.execute(
            images, runs, reference_images, reference_runs, **LIMITS
        ).result[0]

    return run


@pytest.fixture
def arm(make_run):
    """A function that makes runs of one picture a seed, after a warm-up."""

    def make(name, attention, seeds=(1, 2, 3), **changes):
        condition = replace(make_run().condition, attention=attention, batch_size=1)
        seeded = [
            make_run(f"{name}{seed}", condition=condition, seed=seed, repeat=i, **changes)
            for i, seed in enumerate(seeds)
        ]
        warmup = make_run(f"{name}w", condition=condition, seed=99, is_warmup=True)
        return (warmup, *seeded)

    return make


@pytest.fixture
def pictures():
    """Three unlike pictures, ``[3, 24, 24, 3]``."""
    return torch.rand((3, 24, 24, 3), generator=torch.Generator().manual_seed(0))


def test_each_picture_meets_that_of_its_seed(guard, arm, pictures):
    """The treatment made its pictures in another order than the reference."""
    marked = guard(pictures[[2, 0, 1]], arm("b", "sage_2", (3, 1, 2)), pictures, arm("a", "sdpa"))
    checks = {run.run_id: run.picture for run in marked if run.condition.attention == "sage_2"}
    assert checks.pop("bw") is None
    assert {run_id: check.reference for run_id, check in checks.items()} == {
        "b3": "a3",
        "b1": "a1",
        "b2": "a2",
    }
    assert all(check.fault == "" and check.ssim == pytest.approx(1) for check in checks.values())


@pytest.mark.parametrize(
    ("fault", "breaking"),
    [
        ("NaN", lambda picture: torch.full_like(picture, torch.nan)),
        ("black", torch.zeros_like),
        ("PSNR", lambda picture: 1 - picture),
    ],
)
def test_a_planted_fault_is_marked_and_shown(guard, arm, pictures, fault, breaking):
    broken = pictures.clone()
    broken[1] = breaking(broken[1])
    marked = guard(broken, arm("b", "sage_1"), pictures, arm("a", "sdpa"))
    faults = {run.run_id: run.picture.fault for run in marked if run.picture}
    assert fault in faults.pop("b2")
    assert set(faults.values()) == {""}
    table = table_of(runs_frame(marked))
    assert "[broken picture]" in table.rows[1][0]
    assert "broken picture" in table.rows[1]


def test_guards_chain_to_one_table(guard, arm, pictures):
    first = guard(pictures, arm("b", "sage_2"), pictures, arm("a", "sdpa"))
    second = guard(pictures, arm("c", "auto"), pictures, first)
    assert [run.run_id for run in second] == [
        f"{name}{seed}" for name in "abc" for seed in ("w", 1, 2, 3)
    ]
    assert {run.picture.reference for run in second[9:]} == {"a1", "a2", "a3"}
    assert len(table_of(runs_frame(second)).rows) == 3


def test_a_failed_run_has_no_picture(guard, arm, pictures):
    runs = list(arm("b", "sage_2"))
    runs[2] = replace(runs[2], error="OutOfMemoryError")
    marked = guard(pictures[[0, 2]], tuple(runs), pictures, arm("a", "sdpa"))
    checks = {run.run_id: run.picture for run in marked}
    assert checks["b2"] is None
    assert checks["b3"].reference == "a3"
    assert checks["b3"].fault == ""


def test_latents_are_compared_on_the_scale_of_the_reference(guard, arm):
    latent = torch.randn((3, 4, 16, 16), generator=torch.Generator().manual_seed(0)) * 7
    near = latent + 0.01
    marked = guard({"samples": near}, arm("b", "x"), {"samples": latent}, arm("a", "sdpa"))
    span = float(latent.max() - latent.min())
    peaks = [run.picture.psnr_db for run in marked if run.picture]
    expected = 20 * torch.log10(torch.tensor(span / 0.01)).item()
    assert peaks == [pytest.approx(expected, abs=0.01)] * 3


def test_wrong_wiring_is_named(guard, arm, pictures):
    a, b = arm("a", "sdpa"), arm("b", "sage_2")
    with pytest.raises(ValueError, match="runs made 3 pictures, but 2 are connected"):
        guard(pictures[:2], b, pictures, a)
    with pytest.raises(ValueError, match="no seed in common"):
        guard(pictures, arm("b", "sage_2", (7, 8, 9)), pictures, a)
    with pytest.raises(ValueError, match="image cannot be compared with a latent"):
        guard({"samples": torch.zeros(3, 4, 8, 8)}, b, pictures, a)
    with pytest.raises(ValueError, match="same size and batch"):
        guard(pictures[:, :12], b, pictures, a)
