"""Images from registries, as arithmetic: where one may come from, which digest is wanted, the scripts, what they say.

A mirror is asked for the digest, never for a tag: docker itself then refuses any other content, before a byte of it is
unpacked. Which digest a tag is now is asked once, for all nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from provision import clock
from provision.actions import JobProgress
from provision.amounts import time_text
from provision.inventory.model import Install
from provision.resources import shipped
from provision.serve.images import parse_image
from provision.shell import assign, join

ASK_DEADLINE = 120.0
"""Seconds that asking all registries for a tag's digest may take; each is given 25."""
FIRST_PAUSE = 2
"""Seconds before the second attempt; every further pause is three times as long, up to a minute."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image and where it may come from. ``ref``: its name on the nodes. ``tag``: as it is written, empty where a
    digest alone is. ``digest``: of the manifest, empty where it isn't known (yet). ``sources``: repositories. ``way``:
    lines of sh that open the way to one of them."""

    ref: str
    tag: str
    digest: str
    sources: tuple[str, ...]
    race: bool = False
    retries: int = 3
    api: bool = True
    way: str = ""

    @property
    def name(self) -> str:
        """What is pulled, as docker writes it."""
        return f"{self.sources[0]}@{self.digest}" if self.digest else f"{self.sources[0]}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What registries said: ``digest`` by ``source``, both empty where none told; ``refused``: source and its words.
    ``able``: false where the engine of the node can't ask, so that only a pull can tell."""

    source: str = ""
    digest: str = ""
    refused: tuple[tuple[str, str], ...] = ()
    able: bool = True


def servers(install: Install) -> Wanted:
    """The servers' image."""
    return Wanted(
        ref=install.ref,
        tag=_tag(install.image),
        digest=install.pinned,
        sources=tuple(dict.fromkeys((install.repository, *(m.rstrip("/") for m in install.mirrors)))),
        race=install.mirror_order == "race",
        retries=install.pull_retries,
        api=install.engine == "docker",
    )


def other(ref: str, install: Install) -> Wanted:
    """An image beside the servers' own, which their mirrors don't hold (a router's, the cache's)."""
    named = parse_image(ref)
    return Wanted(
        ref=ref,
        tag=_tag(ref),
        digest=named.digest,
        sources=(named.repository,),
        retries=install.pull_retries,
        api=install.engine == "docker",
    )


def _tag(ref: str) -> str:
    """The tag, ``latest`` where there is neither tag nor digest; empty for a digest alone."""
    return parse_image(ref).tag


def known_digest(wanted: Wanted, held: Iterable[Sequence[str]]) -> str:
    """The digest by which all nodes that hold the image have it from one of the sources; empty where that is not one.

    ``held``: RepoDigests (``repository@sha256:…``) of each. A node with none got it from another, or from an archive;
    that it is the same image is proven by ``same_image``.
    """
    own = [{digest for name in names for digest in _of(wanted, name)} for names in held if names]
    common = set.intersection(*own) if own else set()
    return next(iter(common)) if len(common) == 1 else ""


def _of(wanted: Wanted, name: str) -> Iterable[str]:
    repository, _, digest = name.partition("@")
    if repository.startswith("127.0.0.1:") or repository in {familiar(source) for source in wanted.sources} | set(
        wanted.sources
    ):
        yield digest


def familiar(repository: str) -> str:
    """A repository as docker shows it: without its own hub's name."""
    return repository.removeprefix("docker.io/library/").removeprefix("docker.io/")


# ---- scripts


def ask_script(wanted: Wanted) -> str:
    """Ask which digest the tag is; read its output with ``asked``."""
    given = [assign("api", _yes(wanted.api)), assign("tag", wanted.tag), f"set -- {join(wanted.sources)}"]
    return "\n".join(given) + f"\n{part('registry')}\n{part('ask')}"


def pull_script(wanted: Wanted, first_pause: int = FIRST_PAUSE) -> str:
    """Pull, prove and name it; its log is read with ``Progress``, ``digest_of`` and ``failures``."""
    given = [
        assign("ref", wanted.ref),
        assign("tag", wanted.tag),
        assign("digest", wanted.digest),
        assign("order", "race" if wanted.race else "in-order"),
        assign("retries", wanted.retries),
        assign("pause", first_pause),
        assign("api", _yes(wanted.api)),
        f"set -- {join(wanted.sources)}",
    ]
    return "\n".join(given) + f"\n{part('registry')}\n{wanted.way}{part('pull')}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def part(name: str) -> str:
    """A part of these scripts, from the templates."""
    return (shipped("templates") / "install" / f"{name}.sh").read_text(encoding="utf-8")


def job_name(ref: str) -> str:
    """The pull's job, by the image's name; jobs of two long names that differ at their ends alone stay apart."""
    name = "pull-" + re.sub(r"[^A-Za-z0-9.]+", "-", ref)
    return name if len(name) <= 100 else f"pull-{re.sub(r'[^A-Za-z0-9.]+', '-', ref[-95:]).strip('-.')}"


# ---- what they say


def asked(stdout: str) -> Asked:
    """What the registries answered ``ask_script``."""
    found = _DIGEST.search(stdout)
    return Asked(
        source=found[1] if found else "",
        digest=found[2] if found else "",
        refused=failures(stdout),
        able=not re.search(r"^unable$", stdout, re.MULTILINE),
    )


def digest_of(log: str) -> str:
    """The digest that a pull has proven; empty where it did not come to that."""
    found = _DIGEST.findall(log)
    return found[-1][1] if found else ""


def source_of(log: str) -> str:
    """The repository that the image came from."""
    found = _DIGEST.findall(log)
    return found[-1][0] if found else ""


def failures(log: str) -> tuple[tuple[str, str], ...]:
    """Why each source failed at last."""
    return tuple((source, why.strip()) for source, why in _FAILED.findall(log))


def refusals(log: str) -> tuple[tuple[str, str], ...]:
    """Sources that a pull went past, though it ended well: each with its last words."""
    return tuple({source: why.strip() for source, why in _PASSED.findall(log)}.items())


_DIGEST = re.compile(r"^digest (\S+) (sha256:[0-9a-f]{64})$", re.MULTILINE)
_FAILED = re.compile(r"^failed (\S+): (.*)$", re.MULTILINE)
_PASSED = re.compile(r"^not from (\S+): (.*)$", re.MULTILINE)
_LAYER = re.compile(r"^([0-9a-f]{12}): (.+?)\s*$", re.MULTILINE)
_BYTES = re.compile(r"(Downloading|Extracting) (\d+) of (\d+)")
_STEP = re.compile(r"^(?:pulling|waiting|not from) .*$", re.MULTILINE)
_HERE = ("Pull complete", "Already exists")


@dataclass(slots=True)
class Layers:
    """How far the layers are: ``done`` and ``fetched`` of ``all``; bytes fetched of ``total``, which is ``exact`` once
    docker has told the size of each."""

    all: int = 0
    done: int = 0
    fetched: int = 0
    bytes: int = 0
    total: int = 0
    exact: bool = False


def layers(log: str) -> Layers:
    """Of the pull that the log ends with."""
    states: dict[str, str] = {}
    sizes: dict[str, int] = {}
    bytes_of: dict[str, int] = {}
    for layer, state in _LAYER.findall(log):
        states[layer] = state
        measured = _BYTES.match(state)
        if measured:
            sizes[layer] = int(measured[3])
            bytes_of[layer] = int(measured[2]) if measured[1] == "Downloading" else int(measured[3])
        elif state in ("Download complete", "Pull complete", "Verifying Checksum") and layer in sizes:
            bytes_of[layer] = sizes[layer]
    return Layers(
        all=len(states),
        done=sum(state.startswith(_HERE) for state in states.values()),
        fetched=sum(state.startswith(("Download complete", "Extracting")) for state in states.values()),
        bytes=sum(bytes_of.values()),
        total=sum(sizes.values()),
        exact=all(layer in sizes or state.startswith(_HERE) for layer, state in states.items()),
    )


@dataclass(slots=True)
class Progress:
    """Reads the log of a pull, time after time: layers, bytes, and by the clock here the rate and what is left."""

    now: Callable[[], float] = clock.monotonic
    _seen: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, log: str) -> JobProgress:
        steps = list(_STEP.finditer(log))
        last = steps[-1].group() if steps else ""
        source = last.removeprefix("pulling ").partition("@")[0]
        found = layers(log[steps[-1].end() :] if steps else log)
        if not found.all:
            return JobProgress(None, f"asking {source}" if last.startswith("pulling ") else last or "starting")
        text = ", ".join([f"{found.done} of {found.all} layers", *self._moved(found)])
        return JobProgress(_fraction(found), text + (f", from {source}" if source else ""))

    def _moved(self, found: Layers) -> Iterable[str]:
        """Bytes, rate and seconds left, where docker tells bytes."""
        if not found.total:
            return
        yield f"{_size(found.bytes, found.total)} of {'' if found.exact else 'more than '}{_size(found.total)}"
        rate = self._rate(found.bytes)
        if found.bytes >= found.total and found.exact:
            yield "unpacking"
        elif rate:
            yield f"{_size(int(rate))}/s"
            if found.exact:
                yield f"{time_text((found.total - found.bytes) / rate)} left"

    def _rate(self, amount: int) -> float:
        """Bytes a second over the last half minute; 0 where that can't be told yet."""
        moment = self.now()
        if self._seen and amount < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((moment, amount))
        while len(self._seen) > 2 and self._seen[0][0] < moment - 30.0:
            del self._seen[0]
        since, before = self._seen[0]
        return (amount - before) / (moment - since) if moment - since >= 1.0 else 0.0


def _fraction(found: Layers) -> float:
    """Fetching is taken for two thirds of the work, unpacking for the rest."""
    if not found.total:
        return (found.done + found.fetched / 2) / found.all
    fetched = found.bytes / found.total if found.exact else min(0.9, found.bytes / found.total)
    return (2 * fetched + found.done / found.all) / 3


def _size(amount: int, like: int = 0) -> str:
    """``4.1 GB``; in the unit of ``like``, without it, where that is given."""
    of = like or amount
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if of >= factor:
            number = f"{amount / factor:.1f}" if unit == "GB" else f"{amount / factor:.0f}"
            return number if like else f"{number} {unit}"
    return str(amount) if like else f"{amount} B"
