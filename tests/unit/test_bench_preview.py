"""The measuring functions of the preview's bench, on arrays whose figures are known."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from drawings import photo

ROOT = Path(__file__).parent.parent.parent
MEASURES = runpy.run_path(str(ROOT / "bench" / "preview_measures.py"))


def _grey(level: int) -> np.ndarray:
    return np.full((20, 20, 3), level, dtype=np.uint8)


def test_overlap_is_the_shared_part_of_all_that_is_marked() -> None:
    """Two halves that share a quarter of the picture overlap by a third; two empty masks are equal."""
    left, top = np.zeros((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)
    left[:, :4], top[:4] = True, True
    assert MEASURES["iou"](left, top) == pytest.approx(1 / 3)
    assert MEASURES["iou"](~left, left) == 0.0
    assert MEASURES["iou"](left & ~left, left & ~left) == 1.0


def test_noise_ratio_follows_its_formula_and_the_mask() -> None:
    """An error of 10 levels is 28.13 dB; where nothing differs it is the cap of 99."""
    one, other = _grey(100), _grey(100)
    other[:10] = 110
    upper = np.zeros((20, 20), dtype=bool)
    upper[:10] = True
    assert MEASURES["psnr"](one, other, upper) == pytest.approx(28.13, abs=0.01)
    assert MEASURES["psnr"](one, other) == pytest.approx(31.14, abs=0.01)
    assert MEASURES["psnr"](one, other, ~upper) == 99.0


def test_similarity_agrees_with_scikit_image() -> None:
    """On a photo and its noisy copy the figure is that of an independent implementation of the paper."""
    true = np.asarray(photo("chelsea"))
    noise = np.random.default_rng(2).normal(0, 12, true.shape)
    noisy = np.clip(true + noise, 0, 255).astype(np.uint8)
    luma = MEASURES["luma"]
    # scikit-image ships no types for it.
    expected = structural_similarity(  # type: ignore[no-untyped-call]
        luma(true), luma(noisy), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert MEASURES["ssim"](true, noisy) == pytest.approx(expected, abs=5e-4)
    assert MEASURES["ssim"](true, true) == pytest.approx(1.0)


def test_overshoot_counts_only_what_leaves_the_neighbours_range() -> None:
    """A blurred edge has none; a rim 20 levels too bright along one of 20 rows has one level on average."""
    true = _grey(50)
    true[10:] = 200
    blurred, haloed = true.copy(), true.copy()
    blurred[9:11] = 125
    haloed[12] = 220
    assert MEASURES["overshoot"](blurred, true) == 0.0
    assert MEASURES["overshoot"](haloed, true) == pytest.approx(1.0)


def test_seam_is_one_where_texture_goes_on_and_large_at_a_step() -> None:
    """A picture of even texture has no seam; lifting its surroundings by 60 levels makes one."""
    texture = np.random.default_rng(3).integers(80, 120, (60, 60, 1), dtype=np.uint8).repeat(3, axis=2)
    box = (15, 15, 45, 45)
    lifted = texture + np.uint8(60)
    lifted[15:45, 15:45] = texture[15:45, 15:45]
    assert MEASURES["seam"](texture, box) == pytest.approx(1.0, abs=0.35)
    assert MEASURES["seam"](lifted, box) > 3.0
