"""Files in and out: Matrix Market (plain or gzip), SciPy ``.npz`` and NumPy ``.npy``.

A file is recognised by its content, never by its name, and nothing large is allocated before its header has
been compared with the limits. Whatever the bytes, readers raise `SolverServiceError` subclasses only
(and `MemoryError`, and `OSError` for a path that cannot be opened).
"""

from .reading import read_array, read_matrix
from .writing import write_matrix

__all__ = ["read_array", "read_matrix", "write_matrix"]
