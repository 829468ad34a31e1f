import pytest

from solver_service.tasks import state


class Weighty:
    def __init__(self, nbytes):
        self.nbytes = nbytes


def test_the_cache_drops_what_was_used_least_recently():
    cache = state.PreparedCache(100)
    built = []

    def build(name, nbytes):
        def make():
            built.append(name)
            return Weighty(nbytes)

        return make

    for name in ("a", "b", "a", "c"):
        cache.get(name, build(name, 40))
        cache.trim()
    assert built == ["a", "b", "c"]
    assert len(cache) == 2
    cache.get("a", build("a", 40))
    assert built == ["a", "b", "c"]
    cache.get("b", build("b", 40))
    assert built == ["a", "b", "c", "b"]


def test_the_cache_holds_nothing_larger_than_itself():
    cache = state.PreparedCache(100)
    cache.get("a", lambda: Weighty(101))
    cache.trim()
    assert len(cache) == 0


def test_a_process_that_was_not_configured_says_so(monkeypatch):
    monkeypatch.setattr(state, "_current", None)
    with pytest.raises(RuntimeError, match="not configured"):
        state.current()


def test_the_cache_is_bounded_in_number_too():
    cache = state.PreparedCache(10**9)
    for k in range(500):
        cache.get(str(k), lambda: Weighty(1))
        cache.trim()
    assert len(cache) == 64
