"""What the pattern alone tells of a sparse factorisation: a matching, elimination trees, column counts.

Patterns come as `indptr` and `indices`, by rows or by columns. Indices are unsigned, so "none" is the first
number that is no index: the length of what is indexed. Arrays named after their content are results; `room`
is work space whose content does not matter.

A graph is given by the neighbours of each node; trees and counts are those of the Cholesky factor L of a
matrix with that graph, eliminated in the order of the nodes. That of AᵀA is never formed: a row of A is a
clique in it, and eliminating the first column of a row joins all others of that row anyway, so the graph that
links every column to the first columns of its rows has the same L (`row_stars`).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .jit import ONE, FloatArray, UnsignedArray, kernel

CountArray: TypeAlias = NDArray[np.signedinteger[Any]]

ZERO = np.uint64(0)


@kernel
def maximum_matching(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    column_of: UnsignedArray,
    row_of: UnsignedArray,
    room: UnsignedArray,
) -> int:
    """Match as many rows as possible with columns of their own; the number of pairs is the structural rank.

    A is given by rows. (By columns, it is Aᵀ, and the results change places.) `column_of` (m,) and `row_of`
    (n,) are the pairs, with n and m for none; `room` is (4, m), of a type that holds offsets.

    Rows first take any free column. Then each unmatched row searches in depth for an augmenting path, looking
    ahead for a free column at every row it meets (Duff 1981, MC21). No row is met twice in one phase (Pothen
    & Fan 1990): a phase reads A twice at most, and the last one finds nothing.
    """
    m = np.uint64(column_of.size)
    n = np.uint64(row_of.size)
    untried, cursor, met, path = room[0], room[1], room[2], room[3]
    for column in range(n):
        row_of[column] = m
    pairs = 0
    for row in range(m):
        column_of[row] = n
        met[row] = ZERO
        p = np.uint64(indptr[row])
        last = np.uint64(indptr[row + ONE])
        while p < last and column_of[row] == n:
            j = np.uint64(indices[p])
            p += ONE
            if row_of[j] == m:
                column_of[row] = j
                row_of[j] = row
                pairs += 1
        untried[row] = p
    phase = np.uint64(0)
    found = 1
    while found > 0 and pairs < column_of.size:
        phase += ONE
        found = 0
        for start in range(m):
            if column_of[start] != n:
                continue
            depth = np.uint64(0)
            path[ZERO] = start
            met[start] = phase
            cursor[start] = indptr[start]
            searching = True
            while searching:
                i = np.uint64(path[depth])
                last = np.uint64(indptr[i + ONE])
                p = np.uint64(untried[i])
                free = n
                while p < last and free == n:
                    j = np.uint64(indices[p])
                    if row_of[j] == m:
                        free = j
                    p += ONE
                untried[i] = p
                if free != n:  # each row of the path hands its column to the row before it
                    while True:
                        i = np.uint64(path[depth])
                        given_up = np.uint64(column_of[i])
                        column_of[i] = free
                        row_of[free] = i
                        free = given_up
                        if depth == ZERO:
                            break
                        depth -= ONE
                    found += 1
                    break
                p = np.uint64(cursor[i])
                following = m
                while p < last and following == m:
                    k = np.uint64(row_of[indices[p]])
                    if met[k] != phase:
                        following = k
                    p += ONE
                cursor[i] = p
                if following != m:
                    met[following] = phase
                    cursor[following] = indptr[following]
                    depth += ONE
                    path[depth] = following
                elif depth == ZERO:
                    searching = False
                else:
                    depth -= ONE
        pairs += found
    return pairs


@kernel
def diagonal_census(
    indptr: UnsignedArray, indices: UnsignedArray, data: FloatArray, threshold: float
) -> tuple[int, int]:
    """How many diagonal entries are missing, and how many below `threshold` times the largest of the column.

    A is square and given by its columns; a missing entry is below, too.
    """
    missing = 0
    weak = 0
    for j in range(np.uint64(indptr.size) - ONE):
        largest = 0.0
        diagonal = -1.0
        for p in range(np.uint64(indptr[j]), np.uint64(indptr[j + ONE])):
            size = abs(data[p])
            largest = max(largest, size)
            if indices[p] == j:
                diagonal = size
        if diagonal < 0.0:
            missing += 1
        if diagonal < threshold * largest:
            weak += 1
    return missing, weak


@kernel
def shared_entries(
    indptr: UnsignedArray, indices: UnsignedArray, indptr_t: UnsignedArray, indices_t: UnsignedArray
) -> int:
    """Count the entries of A whose mirror image is one too; both patterns sorted, the second that of Aᵀ."""
    shared = 0
    for i in range(np.uint64(indptr.size) - ONE):
        p = np.uint64(indptr[i])
        q = np.uint64(indptr_t[i])
        while p < indptr[i + ONE] and q < indptr_t[i + ONE]:
            j = indices[p]
            k = indices_t[q]
            if j == k:
                shared += 1
            if j <= k:
                p += ONE
            if k <= j:
                q += ONE
    return shared


@kernel
def transposed(
    indptr: UnsignedArray, indices: UnsignedArray, new_indptr: UnsignedArray, new_indices: UnsignedArray
) -> None:
    """The pattern of a square matrix by columns instead of rows, or the other way round; sorted."""
    for k in range(np.uint64(new_indptr.size)):
        new_indptr[k] = ZERO
    for p in range(np.uint64(indices.size)):
        new_indptr[np.uint64(indices[p]) + ONE] += ONE
    for k in range(ONE, np.uint64(new_indptr.size)):
        new_indptr[k] += new_indptr[k - ONE]
    for i in range(np.uint64(indptr.size) - ONE):
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + ONE])):
            j = np.uint64(indices[p])
            new_indices[new_indptr[j]] = i
            new_indptr[j] += ONE
    for back in range(np.uint64(new_indptr.size) - ONE):  # each offset has moved on to the next
        last = np.uint64(new_indptr.size) - ONE - np.uint64(back)
        new_indptr[last] = new_indptr[last - ONE]
    new_indptr[ZERO] = ZERO


@kernel
def renumbered(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    order: UnsignedArray,
    place: UnsignedArray,
    new_indptr: UnsignedArray,
    new_indices: UnsignedArray,
) -> None:
    """The graph with node order[k] called k; `place` is the inverse of `order`."""
    end = np.uint64(0)
    new_indptr[ZERO] = end
    for k in range(np.uint64(order.size)):
        j = np.uint64(order[k])
        for p in range(np.uint64(indptr[j]), np.uint64(indptr[j + ONE])):
            new_indices[end] = place[indices[p]]
            end += ONE
        new_indptr[k + ONE] = end


@kernel
def renumbered_columns(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    place: UnsignedArray,
    new_indptr: UnsignedArray,
    new_indices: UnsignedArray,
    new_data: FloatArray,
) -> None:
    """The matrix with column order[k] as column k and row i as row place[i]."""
    renumbered(indptr, indices, order, place, new_indptr, new_indices)
    end = np.uint64(0)
    for k in range(np.uint64(order.size)):
        j = np.uint64(order[k])
        for p in range(np.uint64(indptr[j]), np.uint64(indptr[j + ONE])):
            new_data[end] = data[p]
            end += ONE


@kernel
def row_stars(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    order: UnsignedArray,
    first: UnsignedArray,
    new_indptr: UnsignedArray,
    new_indices: UnsignedArray,
) -> None:
    """The graph of AᵀA as far as L is concerned; A is given by its columns, and order[k] becomes node k.

    The neighbours of k are the first nodes of the rows in its column, each of them ≤ k. `first` (m,) has to
    come in as n for rows that count and as n + 1 for those to leave out; it gets the first node of each row.
    """
    n = np.uint64(order.size)
    end = np.uint64(0)
    new_indptr[ZERO] = end
    for k in range(n):
        j = np.uint64(order[k])
        for p in range(np.uint64(indptr[j]), np.uint64(indptr[j + ONE])):
            i = np.uint64(indices[p])
            if first[i] == n:
                first[i] = k
            new_indices[end] = first[i] if first[i] < k else k
            end += ONE
        new_indptr[k + ONE] = end


@kernel
def elimination_tree(
    indptr: UnsignedArray, indices: UnsignedArray, parent: UnsignedArray, room: UnsignedArray
) -> None:
    """parent[j] ← the first i > j with L[i, j] ≠ 0, or n; needs the neighbours before each node (Liu 1990).

    Neighbours behind a node are ignored. `room` is (n,): shortcuts to the root of what is known of each tree.
    """
    n = np.uint64(parent.size)
    for k in range(n):
        parent[k] = n
        room[k] = n
        for p in range(np.uint64(indptr[k]), np.uint64(indptr[k + ONE])):
            j = np.uint64(indices[p])
            while j < k:
                above = np.uint64(room[j])
                room[j] = k
                if above == n:
                    parent[j] = k
                j = above


@kernel
def postorder(parent: UnsignedArray, order: UnsignedArray, room: UnsignedArray) -> None:
    """Order ← the nodes, each subtree together, its root last, children by number. `room` is (3, n + 1)."""
    n = np.uint64(parent.size)
    child, sibling, path = room[0], room[1], room[2]
    for node in range(n + ONE):
        child[node] = n
    for back in range(n):
        j = n - ONE - np.uint64(back)
        sibling[j] = child[parent[j]]
        child[parent[j]] = j
    done = np.uint64(0)
    depth = np.uint64(0)
    path[depth] = n  # the root of all roots
    while done < n:
        j = np.uint64(path[depth])
        down = np.uint64(child[j])
        if down == n:
            order[done] = j
            done += ONE
            depth -= ONE
        else:
            child[j] = sibling[down]
            depth += ONE
            path[depth] = down


@kernel
def column_counts(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    parent: UnsignedArray,
    order: UnsignedArray,
    counts: CountArray,
    room: UnsignedArray,
) -> None:
    """counts[j] ← entries of column j of L, with the diagonal (Gilbert, Ng & Peyton 1994). Almost linear.

    Needs the neighbours behind each node (others are ignored) and the tree in postorder. L[i, j] ≠ 0 for all
    j on the paths from the neighbours of i up to i: a subtree of which only the leaves are looked at. Summed
    over descendants, +1 at each leaf, −1 where two paths meet and −1 above i is 1 just on this subtree.
    `room` is (4, n).
    """
    n = np.uint64(parent.size)
    position, lowest, latest, above = room[0], room[1], room[2], room[3]
    for k in range(n):
        j = np.uint64(order[k])
        position[j] = k
        lowest[j] = k  # position of the first descendant
        latest[j] = n  # the neighbour of j met last
        above[j] = j  # the first ancestor not yet finished, once paths are compressed
        counts[j] = 1  # a leaf of the tree is the only leaf of its own subtree
    for k in range(n):
        j = np.uint64(order[k])
        up = np.uint64(parent[j])
        if up < n:
            lowest[up] = min(lowest[up], lowest[j])
            counts[up] = 0
    for k in range(n):
        j = np.uint64(order[k])
        up = np.uint64(parent[j])
        if up < n:
            counts[up] -= 1
        for p in range(np.uint64(indptr[j]), np.uint64(indptr[j + ONE])):
            i = np.uint64(indices[p])
            if i <= j:
                continue
            u = np.uint64(latest[i])
            if u == n:
                counts[j] += 1
            elif position[u] < lowest[j]:  # none of the neighbours so far is below j: a leaf
                counts[j] += 1
                while above[u] != u:
                    above[u] = above[above[u]]
                    u = np.uint64(above[u])
                counts[u] -= 1
            latest[i] = j
        if up < n:
            above[j] = up
    for k in range(n):
        j = np.uint64(order[k])
        if parent[j] < n:
            counts[parent[j]] += counts[j]


@kernel
def merged_row_counts(first: UnsignedArray, parent: UnsignedArray, counts: CountArray) -> None:
    """counts[j] ← how many rows column j of L can have at most, whatever the pivots (George & Ng 1987).

    A step merges all rows that begin in its column, and one of them becomes the pivot row; the others begin
    at the parent in the column elimination tree at the earliest. `first` as `row_stars` leaves it.
    """
    n = np.uint64(parent.size)
    for j in range(n):
        counts[j] = 0
    for i in range(np.uint64(first.size)):
        if first[i] < n:
            counts[first[i]] += 1
    for j in range(n):
        if parent[j] < n and counts[j] > 1:
            counts[parent[j]] += counts[j] - 1
