"""Who kills."""

from __future__ import annotations

import random
import time

import psutil
from cluster import Cluster, wait_until


class Killer:
    """Sends SIGKILL at random moments, to whatever is there."""

    KINDS = ("member", "pool worker", "pool worker", "fork server")

    def __init__(self, cluster: Cluster, rng: random.Random, longest_pause: float) -> None:
        self.count: dict[str, int] = dict.fromkeys(self.KINDS, 0)
        self._cluster, self._rng, self._longest = cluster, rng, longest_pause
        self._kinds: list[str] = []

    @property
    def total(self) -> int:
        return sum(self.count.values())

    def strike(self) -> None:
        """Wait for a random moment, and kill one process; nothing happens if none of that kind is there."""
        rng = self._rng
        if not self._kinds:  # all kinds get their turn, however few kills there are
            self._kinds = rng.sample(self.KINDS, len(self.KINDS))
        kind, member, pause = self._kinds[-1], rng.choice(self._cluster.members), rng.uniform(0.0, 0.5)
        if rng.random() < 0.7:  # else it may hit a process that is just starting
            wait_until(member.pool_workers, 60, f"{member.name} has workers")
        time.sleep(rng.uniform(0.02, self._longest))
        if not member.alive:  # it is just being restarted
            assert self._cluster.restarting, f"{member.name} ended by itself: {member.last_words()}"
            return
        self._kinds.pop()
        if kind == "member":
            self._cluster.kill_and_restart(member, pause)
        else:
            victims = member.fork_servers() if kind == "fork server" else member.pool_workers()
            if not victims:
                return  # once its fork server is gone, a member needs none until a worker is to be replaced
            try:
                rng.choice(victims).kill()
            except psutil.NoSuchProcess:
                return
        self.count[kind] += 1
