"""Approximate minimum degree ordering of a graph of variables and cliques (Amestoy, Davis & Duff 1996).

Eliminating a variable makes a clique of its neighbours. As a clique is kept as the list of its members, no
fill is ever written down: what is left of the graph always fits where the input was. Cliques may be there
from the start: the graph of AᵀA has one for each row of A.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .jit import ONE, UnsignedArray, kernel

SignedArray: TypeAlias = NDArray[np.signedinteger[Any]]

ZERO = np.uint64(0)


@kernel
def compacted(start: UnsignedArray, length: UnsignedArray, lists: UnsignedArray, free: np.int64) -> np.int64:
    """Move the lists of all nodes together, in place and in their order; returns the new end.

    The first entry of a list trades places with a number that is no node, N + its owner.
    """
    nodes = np.uint64(start.size)
    for v in range(nodes):
        if length[v] > 0:
            first = lists[start[v]]
            lists[start[v]] = nodes + v
            start[v] = first
    end = np.uint64(0)
    p = np.uint64(0)
    while p < np.uint64(free):
        if lists[p] < nodes:
            p += ONE
            continue
        moved = np.uint64(lists[p]) - nodes
        lists[end] = start[moved]
        start[moved] = end
        end += ONE
        for q in range(p + ONE, p + np.uint64(length[moved])):
            lists[end] = lists[q]
            end += ONE
        p += np.uint64(length[moved])
    return np.int64(end)


@kernel
def unlink(v: np.uint64, degree: SignedArray, head: UnsignedArray, links: UnsignedArray) -> None:
    """Take variable v out of the ring of its degree; `links` holds the next and the previous of each."""
    d = np.uint64(degree[v])
    after, before = np.uint64(links[0, v]), np.uint64(links[1, v])
    if after == v:
        head[d] = degree.size
    else:
        links[1, after] = before
        links[0, before] = after
        if head[d] == v:
            head[d] = after


@kernel
def link(v: np.uint64, degree: SignedArray, head: UnsignedArray, links: UnsignedArray) -> None:
    """Put variable v last into the ring of its degree, which `head` points into."""
    d = np.uint64(degree[v])
    after = np.uint64(head[d])
    if after == np.uint64(degree.size):
        head[d] = v
        links[0, v] = v
        links[1, v] = v
    else:
        before = np.uint64(links[1, after])
        links[0, v] = after
        links[1, v] = before
        links[0, before] = v
        links[1, after] = v


@kernel
def minimum_degree(
    start: UnsignedArray,
    length: UnsignedArray,
    cliques: UnsignedArray,
    lists: UnsignedArray,
    free: np.int64,
    weight: SignedArray,
    mark: SignedArray,
    degree: SignedArray,
    limit: float,
    patience: int,
    owner: UnsignedArray,
    step: UnsignedArray,
    head: UnsignedArray,
    bucket: UnsignedArray,
    links: UnsignedArray,
) -> bool:
    """Eliminate variables of least (approximate) degree first; tells whether all are.

    Node v < N is a variable (weight 1), a clique (weight 0, mark 1), or left out (weight 0). Its list are the
    length[v] entries of `lists` from start[v] on: of a clique its members; of a variable first cliques[v]
    cliques that it is in, then variables that it is linked to, each in the list of the other. `free` is where
    the lists end; room for N more has to follow. `degree` comes in as the size of cliques, and as a bound on
    the neighbours of variables.

    step[v] ← when v is eliminated; variables that share a step belong together, in any order. owner[v] is
    which variable v was merged with, N for none. It gives up, returns False and leaves variables with step N
    once the flops of a Cholesky factorisation, Σ c + 2c² for c entries below the diagonal, exceed `limit`,
    or once it has gone through more than `patience` entries of lists. `head` (N + 1,), `bucket` (N,) and
    `links` (4, N) are work space; all arrays are used up.
    """
    nodes = np.uint64(start.size)
    size = np.int64(0)
    for v in range(nodes):
        owner[v] = nodes
        step[v] = nodes
        head[v] = nodes
        bucket[v] = nodes
        size += weight[v]
    head[nodes] = nodes
    for v in range(nodes):
        if weight[v] > 0:
            degree[v] = min(degree[v], size - 1)
            link(np.uint64(v), degree, head, links)
    stamp = np.int64(2)
    flops = 0.0
    work = np.int64(0)
    done = np.int64(0)
    steps = np.uint64(0)
    least = np.uint64(0)
    while done < size:
        while head[least] == nodes:
            least += ONE
        me = np.uint64(head[least])
        unlink(me, degree, head, links)
        pivots = weight[me]
        done += pivots
        weight[me] = -pivots

        # The new clique: the members of the cliques that me is in, and its other neighbours.
        room = np.int64(length[me])
        first = np.uint64(start[me])
        for p in range(first, first + np.uint64(cliques[me])):
            room += np.int64(length[lists[p]])
        fresh = cliques[me] > 0
        begin = first  # the neighbours of me, without cliques, are the list already
        if fresh:
            if free + min(room, np.int64(nodes)) > lists.size:
                free = compacted(start, length, lists, free)
                first = np.uint64(start[me])
            begin = np.uint64(free)
        end = begin
        members = np.int64(0)
        for p in range(first, first + np.uint64(cliques[me])):
            e = np.uint64(lists[p])
            if mark[e] == 0:
                continue
            for q in range(np.uint64(start[e]), np.uint64(start[e]) + np.uint64(length[e])):
                i = np.uint64(lists[q])
                if weight[i] > 0:
                    members += weight[i]
                    weight[i] = -weight[i]  # as long as it is a member of this one
                    unlink(i, degree, head, links)
                    lists[end] = i
                    end += ONE
            mark[e] = 0
            length[e] = 0
        for p in range(first + np.uint64(cliques[me]), first + np.uint64(length[me])):
            i = np.uint64(lists[p])
            if weight[i] > 0:
                members += weight[i]
                weight[i] = -weight[i]
                unlink(i, degree, head, links)
                lists[end] = i
                end += ONE
        start[me] = begin
        length[me] = end - begin
        cliques[me] = 0
        mark[me] = 1

        # mark[e] − stamp ← members of clique e that are not in the new one.
        for p in range(begin, end):
            i = np.uint64(lists[p])
            for q in range(np.uint64(start[i]), np.uint64(start[i]) + np.uint64(cliques[i])):
                e = np.uint64(lists[q])
                if mark[e] >= stamp:
                    mark[e] += weight[i]
                elif mark[e] != 0:
                    mark[e] = degree[e] + stamp + weight[i]

        # Shorten the lists of the members, bound their degrees.
        for p in range(begin, end):
            i = np.uint64(lists[p])
            low = np.uint64(start[i])
            middle = low + np.uint64(cliques[i])
            high = low + np.uint64(length[i])
            to = low
            outside = np.int64(0)
            key = np.uint64(0)
            for q in range(low, middle):
                e = np.uint64(lists[q])
                if mark[e] == 0:
                    continue
                if mark[e] > stamp:
                    outside += mark[e] - stamp
                    lists[to] = e
                    to += ONE
                    key += e
                else:  # all within the new one
                    mark[e] = 0
                    length[e] = 0
            others = to
            for q in range(middle, high):
                j = np.uint64(lists[q])
                if weight[j] > 0:
                    outside += weight[j]
                    lists[to] = j
                    to += ONE
                    key += j
            work += np.int64(high - low)
            if outside == 0:  # no neighbour but the members: to be eliminated along with me
                pivots -= weight[i]
                done -= weight[i]
                members += weight[i]
                weight[i] = 0
                owner[i] = me
                length[i] = 0
                continue
            degree[i] = min(degree[i], outside)
            lists[to] = lists[others]
            lists[others] = lists[low]
            lists[low] = me
            cliques[i] = others - low + ONE
            length[i] = to - low + ONE
            key %= nodes
            links[2, i] = key
            links[3, i] = bucket[key]
            bucket[key] = i
        stamp += size + 1

        # Merge members of equal lists.
        for p in range(begin, end):
            i = np.uint64(lists[p])
            if weight[i] == 0:
                continue
            key = np.uint64(links[2, i])
            i = np.uint64(bucket[key])
            bucket[key] = nodes
            while i != nodes:
                for q in range(np.uint64(start[i]) + ONE, np.uint64(start[i]) + np.uint64(length[i])):
                    mark[lists[q]] = stamp
                before = i
                j = np.uint64(links[3, i])
                while j != nodes:
                    after = np.uint64(links[3, j])
                    equal = length[i] == length[j] and cliques[i] == cliques[j]
                    at = np.uint64(start[j]) + ONE
                    while equal and at < np.uint64(start[j]) + np.uint64(length[j]):
                        equal = mark[lists[at]] == stamp
                        at += ONE
                    if equal:
                        weight[i] += weight[j]
                        weight[j] = 0
                        owner[j] = i
                        length[j] = 0
                        links[3, before] = after
                    else:
                        before = j
                    j = after
                stamp += 1
                i = np.uint64(links[3, i])

        # What is left is the clique for good.
        to = begin
        for p in range(begin, end):
            i = np.uint64(lists[p])
            if weight[i] == 0:
                continue
            weight[i] = -weight[i]
            degree[i] = min(degree[i] + members - weight[i], size - done - weight[i])
            link(i, degree, head, links)
            least = min(least, np.uint64(degree[i]))
            lists[to] = i
            to += ONE
        length[me] = to - begin
        degree[me] = members
        weight[me] = 0
        if to == begin:
            mark[me] = 0
        if fresh:
            free = np.int64(to)
        step[me] = steps
        steps += ONE
        for k in range(pivots):
            c = float(members + k)
            flops += c + 2.0 * c * c
        if flops > limit or work > patience:
            return False
    return True
