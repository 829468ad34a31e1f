"""What tasks leave for the time after their answer."""

import pool_tasks as tasks
import pytest

pytestmark = pytest.mark.anyio


async def test_it_is_done_after_the_answer_whatever_else_fails(pool, tmp_path, eventually):
    assert await pool.run(tasks.leave_for_later, str(tmp_path), lane="main") == "answer"
    assert not (tmp_path / "noted").exists()
    (tmp_path / "answered").touch()
    await eventually((tmp_path / "second").exists)
    assert (tmp_path / "noted").read_text() == "after the answer"
    workers = {await pool.run(tasks.pid, None, lane="main") for _ in range(10)}
    assert int((tmp_path / "second").read_text()) in workers


async def test_it_does_not_keep_more_than_one_task_waiting(pool, tmp_path, eventually):
    """Both workers are left with work; what is asked of them then is done after one piece of it."""
    for name in "ab":
        (tmp_path / name).mkdir()
    calls = [pool.submit(tasks.leave_for_later, str(tmp_path / name), lane="main") for name in "ab"]
    assert [await call.answer() for call in calls] == ["answer", "answer"]
    waiting = [pool.submit(tasks.echo, name, lane="main") for name in "ab"]
    for name in "ab":
        (tmp_path / name / "answered").touch()
    assert [await call.answer() for call in waiting] == ["a", "b"]
    for name in "ab":
        await eventually((tmp_path / name / "second").exists)
