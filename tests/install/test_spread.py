"""Spreads: who asks whom, and what the jobs say of themselves. The scripts themselves: test_spread_scripts.py."""

from __future__ import annotations

import pytest

from provision.install import spread
from provision.install.manifest import File

# ---- who asks whom


@pytest.mark.parametrize("shape", ["pipeline", "tree"])
@pytest.mark.parametrize("holders", [1, 2, 3, 7])
def test_everybody_asks_somebody_who_has_it_before(shape: spread.Shape, holders: int) -> None:
    for count in range(1, 65):
        givers = [f"h{number}" for number in range(holders)]
        takers = [f"t{number}" for number in range(count)]

        found = spread.parents(shape, givers, takers)

        assert sorted(found) == sorted(takers)
        known = set(givers)
        for taker, line in found.items():
            assert line[0] in known, (count, taker)
            assert taker not in line
            assert len(line) == len(set(line)) <= 3
            assert set(line) & set(givers), "the last resort is one that has all"
            known.add(taker)
        children = [line[0] for line in found.values()]
        most = max(children.count(name) for name in set(children))
        assert most == 1 if shape == "pipeline" else most <= (count + holders).bit_length()


def test_a_chain_starts_at_each_holder() -> None:
    found = spread.parents("pipeline", ["h", "i"], ["a", "b", "c", "d", "e"])

    assert {taker: line[0] for taker, line in found.items()} == {"a": "h", "b": "a", "c": "i", "d": "c", "e": "d"}


def test_a_tree_doubles_each_round() -> None:
    found = spread.parents("tree", ["h"], ["a", "b", "c", "d"])

    assert {taker: line[0] for taker, line in found.items()} == {"a": "h", "b": "h", "c": "a", "d": "h"}


@pytest.mark.parametrize("holders", [1, 2, 5])
def test_rounds_double_those_that_have_it(holders: int) -> None:
    for count in range(65):
        have = {f"h{number}" for number in range(holders)}
        rounds = spread.rounds(sorted(have), [f"t{number}" for number in range(count)])

        for each in rounds:
            assert set(each.values()) <= have
            assert len(set(each.values())) == len(each), "one at a time"
            have |= set(each)
        assert len(have) == holders + count
        assert len(rounds) == next(n for n in range(8) if holders << n >= holders + count)


def test_nobody_can_give_what_nobody_has() -> None:
    with pytest.raises(ValueError, match="nobody"):
        spread.parents("tree", [], ["a"])


# ---- what they say


def test_progress_has_rate_and_time_left() -> None:
    log = "@ 100.00 0 4000000000 \n+ got 5 a\n@ 102.00 1000000000 4000000000 model-2.safetensors.part\n"

    progress = spread.Fetching()(log)

    assert progress.text == "1.0 GB of 4.0 GB, 500.0 MB/s, 6 s left: model-2.safetensors"
    assert progress.fraction == 0.25
    assert spread.Fetching()("").fraction is None
    assert spread.Fetching()("@ 1.0 0 0 \n").fraction is None


@pytest.mark.parametrize(
    ("log", "hint"),
    [
        ("? a at 10.0.0.1 port 22: root@10.0.0.1: Permission denied (publickey).", "AuthorizedKeysFile"),
        ("? a at 10.0.0.1 port 22: Host key verification failed.", "data_address"),
        ("? a at 10.0.0.1 port 22: sudo: a password is required", "NOPASSWD"),
        ("? a at 10.0.0.1 port 22: bind: Cannot assign requested address", "data_address"),
        ("tee: /data/x.part: No space left on device\ncannot write /data/x.part", "free space"),
        ("tee: /data/x.part: Read-only file system\ncannot write /data/x.part", "writable"),
        ("", "run again"),
        ("? a at 10.0.0.1 port 22: the connection ended", "run again"),
    ],
)
def test_a_cause_has_its_remedy(log: str, hint: str) -> None:
    assert hint in spread.trouble(f"@ 1.0 0 5 \n{log}\nfailed: 1 of 1 files have not come\n").hint


def test_a_list_is_known_by_all_that_is_in_it() -> None:
    one = spread.Listing((File("a", 1, "0" * 64),))

    assert one.digest != spread.Listing((File("a", 1, "1" * 64),)).digest
    assert one.digest != spread.Listing((File("b", 1, "0" * 64),)).digest
