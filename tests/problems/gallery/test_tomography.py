import math
import time

import numpy as np
import pytest

from solver_service.problems.gallery import parallel_beam, shepp_logan, tomography


def clipped_length(x0, y0, dx, dy, left, bottom):
    """Length of the line (x0, y0) + s·(dx, dy) in one unit pixel, by clipping (Liang–Barsky)."""
    first, last = -math.inf, math.inf
    for start, slope, low in ((x0, dx, left), (y0, dy, bottom)):
        if abs(slope) < 1e-14:
            if not low <= start < low + 1.0:
                return 0.0
            continue
        near, far = sorted(((low - start) / slope, (low + 1.0 - start) / slope))
        first, last = max(first, near), min(last, far)
    return max(0.0, last - first)


@pytest.mark.parametrize(("pixels", "n_angles", "n_detectors"), [(5, 7, 9), (4, 4, 6), (1, 5, 3), (6, 6, 4)])
def test_lengths_agree_with_clipping_each_pixel(pixels, n_angles, n_detectors):
    A = parallel_beam(pixels, n_angles, n_detectors).toarray()
    assert A.shape == (n_angles * n_detectors, pixels**2)
    width, half = math.sqrt(2) * pixels, pixels / 2
    for k in range(n_angles):
        cosine, sine = math.cos(math.pi * k / n_angles), math.sin(math.pi * k / n_angles)
        for d in range(n_detectors):
            t = (d - (n_detectors - 1) / 2) * width / n_detectors
            expected = [
                clipped_length(t * cosine, t * sine, -sine, cosine, column - half, half - row - 1)
                for row in range(pixels)
                for column in range(pixels)
            ]
            np.testing.assert_allclose(A[k * n_detectors + d], expected, atol=1e-12)


def test_rays_have_the_length_of_their_chord():
    pixels, n_angles = 32, 45
    A = parallel_beam(pixels, n_angles)
    lengths = A.sum(axis=1).reshape(n_angles, -1)
    offsets = (np.arange(lengths.shape[1]) - (lengths.shape[1] - 1) / 2) * (
        math.sqrt(2) * pixels / lengths.shape[1]
    )
    np.testing.assert_allclose(lengths[0], np.where(np.abs(offsets) < pixels / 2, pixels, 0.0), atol=1e-9)
    for k in range(1, n_angles):
        cosine, sine = abs(math.cos(math.pi * k / n_angles)), abs(math.sin(math.pi * k / n_angles))
        reach, flat = pixels / 2 * (cosine + sine), pixels / 2 * abs(cosine - sine)
        chord = (
            np.clip((reach - np.abs(offsets)) / max(reach - flat, 1e-300), 0, 1) * pixels / max(cosine, sine)
        )
        np.testing.assert_allclose(lengths[k], chord, atol=1e-9)


def test_lengths_are_positive_and_at_most_a_diagonal():
    A = parallel_beam(32, 40)
    assert A.data.min() > 0
    assert A.data.max() <= math.sqrt(2) + 1e-12
    assert A.has_canonical_format


def test_a_disc_projects_to_its_analytic_shadow():
    pixels, radius = 200, 0.6
    centres = (2 * np.arange(pixels) + 1 - pixels) / pixels
    disc = (centres[None, :] ** 2 + centres[:, None] ** 2 <= radius**2).astype(float)
    sinogram = (parallel_beam(pixels, 6) @ disc.ravel()).reshape(6, -1)
    count = sinogram.shape[1]
    offsets = (np.arange(count) - (count - 1) / 2) * (math.sqrt(2) * pixels / count)
    shadow = 2 * np.sqrt(np.maximum((radius * pixels / 2) ** 2 - offsets**2, 0))
    assert np.linalg.norm(sinogram - shadow) < 0.02 * np.linalg.norm(shadow) * math.sqrt(6)


def test_up_is_up():
    image = np.zeros((4, 4))
    image[0, 3] = 1.0  # top right: x and y positive
    sinogram = (parallel_beam(4, 4, 8) @ image.ravel()).reshape(4, 8)
    positive = slice(4, None)
    for k in (0, 1, 2):  # θ = 0, 45° and 90°: offsets x, (x + y)/√2 and y
        assert sinogram[k, positive].sum() > 0
        assert sinogram[k, :4].sum() == 0


def test_the_phantom():
    image = shepp_logan(128)
    assert image.shape == (128, 128)
    assert image.min() == 0.0
    assert image.max() == 1.0
    for value in (0.0, 0.2, 0.3, 1.0):
        assert np.isclose(image, value).sum() > 50
    assert image[0].max() == image[-1].max() == 0.0
    # The skull is symmetric; the larger ventricle (0) lies on the left, the smaller on the right.
    middle = image[64]
    assert (np.isclose(middle[:64], 0.0) & (np.arange(64) > 25)).sum() > (
        np.isclose(middle[64:], 0.0) & (np.arange(64) < 38)
    ).sum()
    assert np.isclose(image[41:43, 60:68], 0.3).all()  # the grey ellipse above the centre
    assert shepp_logan(1).shape == (1, 1)


def test_the_scan_is_consistent_and_quick():
    started = time.perf_counter()
    problem = tomography(128, 180)
    assert time.perf_counter() - started < 20
    assert problem.A.shape == (180 * 182, 128**2)
    np.testing.assert_array_equal(problem.x.reshape(128, 128), shepp_logan(128))
    np.testing.assert_array_equal(problem.b, problem.A @ problem.x)
