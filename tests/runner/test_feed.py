"""Waiting for changes, with a table that answers when it is told to."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from solver_service.errors import JobNotFoundError, QueueFullError
from solver_service.runner import Feed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Table:
    _threads = ThreadPoolExecutor(8)

    def ask(self, look, *args):
        return self._threads.submit(look, *args)

    def __init__(self):
        self.known = {"a": 1, "b": 5}
        self.asked = threading.Event()
        self.go = threading.Semaphore(0)

    def revisions(self, ids):
        answer = {id_: self.known[id_] for id_ in ids if id_ in self.known}
        self.asked.set()
        self.go.acquire(timeout=5)
        return answer


async def test_who_comes_while_the_database_is_asked_is_not_woken_for_nothing():
    table = Table()
    feed = Feed(table)
    feed.start()
    first = asyncio.create_task(feed.wait("a", 0, 5.0))
    gone = asyncio.create_task(feed.wait("c", 3, 5.0))
    assert await asyncio.to_thread(table.asked.wait, 5)
    others = [asyncio.create_task(feed.wait(*at, 5.0)) for at in (("b", 5), ("a", 1), ("a", 2))]
    await asyncio.sleep(0.05)
    table.go.release()
    await asyncio.wait_for(asyncio.gather(first, gone), 5)
    await asyncio.sleep(0.05)
    assert not any(other.done() for other in others)
    table.known["b"] = 6
    table.go.release(9)
    await asyncio.wait_for(others[0], 5)
    table.go.release(9)
    await feed.close()
    await asyncio.gather(*others)


class Slow(Table):
    def __init__(self):
        super().__init__()
        self.reads = 0

    def get(self, id_):
        self.reads += 1
        self.go.acquire(timeout=5)
        if id_ == "missing":
            raise JobNotFoundError("no such job")
        return id_


async def test_those_who_read_at_once_share_one_look():
    table = Slow()
    feed = Feed(table)
    readers = [asyncio.create_task(feed.read("a")) for _ in range(50)]
    await asyncio.sleep(0.05)
    readers[0].cancel()
    table.go.release()
    assert set(await asyncio.gather(*readers[1:])) == {"a"}
    assert table.reads == 1
    table.go.release()
    assert await feed.read("a") == "a"
    assert table.reads == 2
    table.go.release()
    with pytest.raises(JobNotFoundError):
        await feed.read("missing")


async def test_only_so_many_may_wait():
    feed = Feed(Slow(), most_waiting=2)
    with feed.guest(), feed.guest(), pytest.raises(QueueFullError) as caught, feed.guest():
        pass
    assert caught.value.retry_after == 5
    with feed.guest():
        pass
