"""The momentum rule, as pure functions of the spectrum, so that theory is tested apart from the loops.

Source of the claim: S. Garg and M. Dereziński, *Perfect Parallelization in Mini-Batch SGD with Classical
Momentum Acceleration*, arXiv:2605.18609: O((κ̄/B + √κ)·log(κ/ε)) iterations with heavy ball or Nesterov
momentum. The constants below were derived from that bound for this project and then measured.

H is the mean of aᵢaᵢᵀ over unit rows (or the corresponding matrix of coordinate descent), λ its largest and μ
its smallest non-zero eigenvalue, r = 1/λ the stable rank, κ = λ/μ.
"""

from __future__ import annotations

import math

_HANDOVER = 20_000
_AMPLE = 2.0


def step_size(batch: int, lambda_max: float, *, full: bool = False) -> float:
    """η = 1/(1/B + (1 − 1/B)·λ); with the full gradient (`full`), which has no noise, 1/λ."""
    if full:
        return 1.0 / lambda_max
    return 1.0 / (1.0 / batch + (1.0 - 1.0 / batch) * lambda_max)


def momentum_parameter(batch: int, eta: float, mu: float | None, *, full: bool = False) -> float:
    """β = max(0, 1 − max(η/B, 2·√(η·μ))), where a μ that is not known counts as 0.

    The first term keeps the amplified gradient noise below the signal, the second is critical damping. The
    full gradient has no noise, and no first term.
    """
    noise = 0.0 if full else eta / batch
    damping = 0.0 if mu is None else 2.0 * math.sqrt(eta * mu)
    return max(0.0, 1.0 - max(noise, damping))


def critical_damping(eta: float, mu: float) -> float:
    """β = (1 − √(η·μ))/(1 + √(η·μ)): the best for Nesterov where there is no noise.

    Beyond B* more of it only delays. Unlike 1 − 2·√(η·μ) it holds for well-conditioned systems, too.
    """
    root = math.sqrt(eta * mu)
    return max(0.0, (1.0 - root) / (1.0 + root))


def saturation_batch(lambda_max: float, mu: float) -> float:
    """B* = r·√κ/2: up to here iterations fall like 1/B, beyond it they stay at about √κ·log(1/ε)."""
    return 0.5 * math.sqrt(lambda_max / mu) / lambda_max


def automatic_batch(rows: int, columns: int, entries: int, saturation: float) -> int:
    """Choose the smallest batch whose rows outweigh the O(n) momentum update, or 1 where none does.

    Up to B* the row updates in total do not depend on B, so on one thread a larger batch buys nothing more;
    beyond B* it costs. With B = 1 the rule gives β = 0, and no O(n) update is made at all.
    """
    batch = math.ceil(4.0 * columns * rows / max(entries, 1))
    return batch if 1 < batch <= min(saturation, rows) else 1


def entries_per_thread(columns: int) -> int:
    """Entries of a batch that are worth a thread, for the hand-over and a gradient of its own."""
    return _HANDOVER + 2 * columns


def parallel_batch(rows: int, columns: int, entries: int, most: float, threads: int) -> int:
    """Choose a batch of at most `most` rows that occupies as many of the threads as can be, else 1."""
    for team in range(threads, 1, -1):
        batch = math.ceil(_AMPLE * team * entries_per_thread(columns) * rows / max(entries, 1))
        if batch <= min(most, rows):
            return batch
    return 1
