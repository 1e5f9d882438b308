"""Fan-out: bounded, complete, and quick to stop."""

from __future__ import annotations

import threading
import time

import pytest

from provision.engine.fanout import collect, fan_out
from provision.errors import ConnectFailed, Interrupted, ProvisionError


def test_results_come_by_name_in_the_order_of_the_items() -> None:
    items = {"c": 3, "a": 1, "b": 2}
    assert list(fan_out(items, lambda n: n * 10).items()) == [("c", 30), ("a", 10), ("b", 20)]
    assert fan_out({}, lambda n: n) == {}


def test_the_first_error_in_item_order_is_raised_after_all_have_ended() -> None:
    ended: list[str] = []

    def do(name: str) -> None:
        time.sleep(0.1 if name == "a" else 0.0)
        ended.append(name)
        if name in ("a", "c"):
            raise ConnectFailed(name)

    with pytest.raises(ConnectFailed) as caught:
        fan_out({name: name for name in "abc"}, do)
    assert (caught.value.message, caught.value.node) == ("a", "a")
    assert [(also.message, also.node) for also in caught.value.also] == [("c", "c")]
    assert sorted(ended) == ["a", "b", "c"]


def test_collect_keeps_every_nodes_error() -> None:
    def do(n: int) -> int:
        if n % 2:
            raise ValueError(n)
        return n

    got = collect({str(n): n for n in range(6)}, do)
    assert got.results == {"0": 0, "2": 2, "4": 4}
    assert list(got.errors) == ["1", "3", "5"]


def test_a_node_named_by_the_error_stays() -> None:
    def do(_: str) -> None:
        raise ProvisionError("x", node="other")

    assert collect({"a": "a"}, do).errors["a"].node == "other"  # type: ignore[attr-defined]


def test_no_more_than_forks_at_a_time() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def do(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    fan_out({str(n): n for n in range(20)}, do, forks=3)
    assert most == 3


def test_a_stop_is_heard_though_one_hangs() -> None:
    stop, release, started = threading.Event(), threading.Event(), []

    def do(n: int) -> None:
        started.append(n)
        release.wait(20)

    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        fan_out({str(n): n for n in range(10)}, do, forks=2, stop=stop)
    release.set()
    assert time.monotonic() - began < 3
    assert len(started) == 2


def test_nothing_starts_after_a_stop() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        fan_out({"a": 1, "b": 2}, lambda _: pytest.fail("started"), stop=stop)


def test_a_deadline_makes_failures_of_what_has_not_ended() -> None:
    release = threading.Event()
    got = collect({"quick": 0.0, "slow": 20.0}, release.wait, deadline=0.2)
    release.set()
    assert list(got.results) == ["quick"]
    assert "0.2 s" in str(got.errors["slow"])


def test_jitter_puts_starts_off_but_not_for_long() -> None:
    began = time.monotonic()
    fan = collect({str(n): n for n in range(8)}, lambda _: time.monotonic() - began, jitter=0.2)
    assert 0.01 < max(fan.results.values()) < 1.0
