"""Parallel-beam computed tomography of the Shepp–Logan phantom.

References
----------
L. A. Shepp and B. F. Logan, "The Fourier reconstruction of a head section", IEEE Trans. Nucl. Sci. 21 (1974).
P. A. Toft, *The Radon Transform: Theory and Implementation*, PhD thesis, DTU (1996): the contrast used here.
R. L. Siddon, "Fast calculation of the exact radiological path for a three-dimensional CT array", Med. Phys.
12 (1985).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..checks import CSR, FloatArray
from .model import ModelProblem, model

# Grey value, half axes along x and y, centre x and y, anticlockwise tilt in degrees; the image is [−1, 1]².
_ELLIPSES = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.0, -18.0),
    (-0.2, 0.16, 0.41, -0.22, 0.0, 18.0),
    (0.1, 0.21, 0.25, 0.0, 0.35, 0.0),
    (0.1, 0.046, 0.046, 0.0, 0.1, 0.0),
    (0.1, 0.046, 0.046, 0.0, -0.1, 0.0),
    (0.1, 0.046, 0.023, -0.08, -0.605, 0.0),
    (0.1, 0.023, 0.023, 0.0, -0.606, 0.0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0.0),
)


def shepp_logan(pixels: int) -> FloatArray:
    """Draw the modified Shepp–Logan phantom.

    Parameters
    ----------
    pixels : int
        Side of the image, at least 1.

    Returns
    -------
    ndarray of float64, (pixels, pixels)
        Values in [0, 1], sampled at the centres of the pixels; row 0 is the top of the head.
    """
    centres = (2.0 * np.arange(pixels) + 1.0 - pixels) / pixels
    x, y = centres[None, :], -centres[:, None]
    image = np.zeros((pixels, pixels))
    for grey, a, b, x0, y0, degrees in _ELLIPSES:
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        along = (x - x0) * cosine + (y - y0) * sine
        across = (y - y0) * cosine - (x - x0) * sine
        image[(along / a) ** 2 + (across / b) ** 2 <= 1.0] += grey
    return np.clip(image, 0.0, 1.0)


def parallel_beam(pixels: int, n_angles: int = 180, n_detectors: int | None = None) -> CSR:
    """Build the projector of a parallel-beam scanner: exact lengths of rays in pixels (Siddon).

    Parameters
    ----------
    pixels : int
        Side of the square image; a pixel has side 1, the origin is its centre, x points right and y up.
    n_angles : int
        Angles θ = π·k/n_angles. At θ the ray at offset t is x·cos θ + y·sin θ = t.
    n_detectors : int, optional
        Offsets, evenly spaced and symmetric about 0 over a width of √2·pixels, the diagonal. The default is
        that width rounded up, which makes the spacing about one pixel.

    Returns
    -------
    csr_array of float64, (n_angles·n_detectors, pixels²)
        Entry (angle·n_detectors + detector, row·pixels + column) is the length of the ray in the pixel, for
        images as `shepp_logan` draws them. Rays beside the image are zero rows.
    """
    width = math.sqrt(2.0) * pixels
    count = math.ceil(width) if n_detectors is None else n_detectors
    offsets: FloatArray = (np.arange(count, dtype=np.float64) - (count - 1) / 2.0) * (width / count)
    rays, cells, lengths = [], [], []
    for k in range(n_angles):
        ray, cell, length = _trace(pixels, math.pi * k / n_angles, offsets)
        rays.append(ray + k * count)
        cells.append(cell)
        lengths.append(length)
    entries = (np.concatenate(lengths), (np.concatenate(rays), np.concatenate(cells)))
    return csr_array(entries, shape=(n_angles * count, pixels * pixels))


def _trace(
    pixels: int, angle: float, offsets: FloatArray
) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """Cut the rays of one angle at all grid lines: ray, pixel and length of each piece."""
    half = pixels / 2.0
    grid = np.arange(pixels + 1) - half
    cosine, sine = math.cos(angle), math.sin(angle)
    # A ray is the points (x, y) = offset·(cosine, sine) + s·(−sine, cosine).
    starts = (offsets[:, None] * cosine, offsets[:, None] * sine)
    cuts = []
    first = np.full((len(offsets), 1), -np.inf)
    last = np.full((len(offsets), 1), np.inf)
    for start, slope in zip(starts, (-sine, cosine), strict=True):
        if abs(slope) < 1e-12:  # along the grid lines: never cuts them
            beside = np.abs(start) >= half
            first[beside], last[beside] = np.inf, -np.inf
            continue
        cut = (grid - start) / slope
        cuts.append(cut)
        first = np.maximum(first, cut.min(axis=1, keepdims=True))
        last = np.minimum(last, cut.max(axis=1, keepdims=True))
    hit = np.flatnonzero(first[:, 0] < last[:, 0])
    s = np.sort(np.clip(np.concatenate(cuts, axis=1)[hit], first[hit], last[hit]), axis=1)
    lengths = np.diff(s, axis=1)
    middles = s[:, :-1] + lengths / 2.0
    column = np.floor(starts[0][hit] - middles * sine + half).astype(np.intp)
    row = np.floor(half - starts[1][hit] - middles * cosine).astype(np.intp)
    inside = (lengths > 1e-12 * pixels) & (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)
    piece, _ = np.nonzero(inside)
    return hit[piece], (row * pixels + column)[inside], lengths[inside]


def tomography(pixels: int = 64, n_angles: int = 180, n_detectors: int | None = None) -> ModelProblem:
    """Scan the phantom: A is `parallel_beam`, x is `shepp_logan` row by row, b is the sinogram.

    ``x.reshape(pixels, pixels)`` is the image, ``b.reshape(n_angles, -1)`` the sinogram.
    """
    A = parallel_beam(pixels, n_angles, n_detectors)
    note = (
        f"Shepp–Logan phantom, {pixels} × {pixels} pixels, {n_angles} angles of {A.shape[0] // n_angles} rays"
    )
    return model("tomography", A, shepp_logan(pixels).ravel(), note)
