"""Symmetric Gauss–Seidel sweeps as preconditioner of CG, by the trick of Eisenstat (1981).

The arrays are those of Â = D^(−½) A D^(−½) = L + I + Lᵀ, unit diagonal included; `middle[i]` is the place of
the diagonal entry of row i. With E = I/ω + L the method is CG on E⁻¹ÂE⁻ᵀ, whose product takes one backward
and one forward substitution, that is each entry of Â once:

    t = E⁻ᵀp,   E⁻¹ÂE⁻ᵀp = t + E⁻¹(p − (2/ω − 1)·t)
"""

from __future__ import annotations

import numpy as np

from .jit import ONE, TWO, FloatArray, UnsignedArray, kernel
from .lanes import muladd
from .products import row_dot
from .vectors import squared_norm


@kernel
def forward_substitution(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    middle: UnsignedArray,
    omega: float,
    b: FloatArray,
    z: FloatArray,
) -> None:
    """z ← E⁻¹b."""
    for i in range(np.uint64(0), np.uint64(z.size)):
        z[i] = omega * (b[i] - row_dot(indices, data, np.uint64(indptr[i]), np.uint64(middle[i]), z))


@kernel
def lower_product(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    middle: UnsignedArray,
    omega: float,
    norms: FloatArray,
    z: FloatArray,
) -> float:
    """‖D^½·E z‖²: what the preconditioned residual z is worth in the caller's scale."""
    total = 0.0
    for i in range(np.uint64(0), np.uint64(z.size)):
        value = z[i] / omega + row_dot(indices, data, np.uint64(indptr[i]), np.uint64(middle[i]), z)
        value *= norms[i]
        total += value * value
    return total


@kernel
def advance_symmetric(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    middle: UnsignedArray,
    omega: float,
    x: FloatArray,
    r: FloatArray,
    p: FloatArray,
    t: FloatArray,
    z: FloatArray,
    scalars: FloatArray,
    steps: int,
    goal: float,
) -> int:
    """Up to `steps` iterations of CG on E⁻¹ÂE⁻ᵀ; returns how many were made.

    `scalars` = [‖r‖², pᵀÂp of the last step]; x is D^½ times the caller's. Ends early where ‖r‖² ≤ goal, or
    where pᵀ(E⁻¹ÂE⁻ᵀ)p ≤ 0: then Â is not positive definite, or rounding has used up the recurrence.
    """
    # The substitutions are written out, as compilers do not inline loops of this size. The unknown computed
    # last is subtracted last, so that nothing else waits for it.
    done = 0
    rows = np.uint64(indptr.size - 1)
    shift = 2.0 / omega - 1.0
    while done < steps and scalars[0] > goal:
        first = np.uint64(indptr[rows])
        for k in range(rows):
            i = rows - ONE - k
            last = first
            first = np.uint64(indptr[i])
            begin = np.uint64(middle[i]) + ONE
            rest = p[i]
            other = 0.0
            while last > begin + TWO:
                rest = muladd(-data[last - ONE], t[indices[last - ONE]], rest)
                other = muladd(data[last - TWO], t[indices[last - TWO]], other)
                last -= TWO
            rest -= other
            while last > begin:
                last -= ONE
                rest = muladd(-data[last], t[indices[last]], rest)
            t[i] = omega * rest
        delta = 0.0
        for j in range(rows):
            e = np.uint64(indptr[j])
            end = np.uint64(middle[j])
            rest = p[j] - shift * t[j]
            other = 0.0
            while e + TWO < end:
                rest = muladd(-data[e], z[indices[e]], rest)
                other = muladd(data[e + ONE], z[indices[e + ONE]], other)
                e += TWO
            rest -= other
            while e < end:
                rest = muladd(-data[e], z[indices[e]], rest)
                e += ONE
            z[j] = omega * rest
            delta += p[j] * (t[j] + z[j])
        scalars[1] = delta
        if not delta > 0.0:
            break
        alpha = scalars[0] / delta
        for j in range(rows):
            x[j] += alpha * t[j]
            r[j] -= alpha * (t[j] + z[j])
        gamma = squared_norm(r)
        beta = gamma / scalars[0]
        scalars[0] = gamma
        for j in range(rows):
            p[j] = r[j] + beta * p[j]
        done += 1
    return done
