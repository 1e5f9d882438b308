"""Model profiles: what is known of a model beyond vLLM's own defaults, as data in ``models/*.yaml``.

A profile adds rules (which layouts cannot work, and why), settings (arguments and environment that its makers or
upstream's nightly runs recommend) and reference results. Every entry names its source, so that an operator can judge
it. Adding a model is adding a file; one that differs little
from another ``extends`` it, replacing whole top-level keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from provision import yamlio
from provision.errors import ConfigError
from provision.inventory.model import Hardware, Scalar
from provision.registry import near_names, or_list
from provision.serve.releases import Release
from provision.serve.shape import ModelShape, tensor_parallel_obstacle

FOLDER = Path(__file__).resolve().parent / "models"

Argument = Scalar | None | dict[str, object] | list[object]
_STRICT: ConfigDict = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Weights:
    """Sizes in bytes; 0: not known. ``expert_bytes``: the part that expert parallelism spreads; ``disk_bytes``: what a
    copy needs free. ``source`` says how the sizes are known."""

    total_bytes: int
    expert_bytes: int
    disk_bytes: int
    quantization: str
    source: str
    repositories: tuple[str, ...]
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class TensorParallel:
    """The legal tensor-parallel sizes, and why no other is."""

    legal: tuple[int, ...]
    reason: str
    source: str
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Extras:
    """Arguments of ``vllm serve`` and environment."""

    engine_args: Mapping[str, Argument] = field(default_factory=dict)
    env: Mapping[str, Scalar] = field(default_factory=dict)
    source: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class ReleaseNote:
    """What is known of the model on a vllm-ascend release. ``forbids``: features that do not work there;
    ``max_utilization``: the largest --gpu-memory-utilization that is safe there."""

    release: str
    statement: str
    level: Literal["fail", "warn", "info"] = "info"
    forbids: tuple[Literal["expert-parallel", "mtp"], ...] = ()
    max_utilization: float | None = None
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Releases:
    """``first`` supports the model at all, ``stable`` is the floor its document names; entries speak of single
    releases. ``mtp_prefix_caching``: the first release on which the two together do not corrupt answers."""

    first: str
    stable: str
    source: str
    mtp_prefix_caching: str = ""
    table: tuple[ReleaseNote, ...] = ()
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def entry(self, release: Release) -> ReleaseNote | None:
        """What is known of this very release."""
        return next((note for note in self.table if Release(note.release) == release), None)


Beside = Literal["chunked-prefill", "full-graph", "prefix-caching"]


@dataclass(frozen=True, slots=True)
class MtpRelease:
    """From this release on, until the next that is named: whether multi-token prediction ``works``, and ``beside`` what
    else."""

    release: str
    works: bool
    statement: str
    beside: tuple[Beside, ...] = ()
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Mtp(Extras):
    """What turns multi-token prediction on, and what of it each release can do, oldest first."""

    releases: tuple[MtpRelease, ...] = ()

    def on(self, release: Release) -> MtpRelease | None:
        """What is known of a release: the last entry that isn't after it; None where nothing is."""
        return next((each for each in reversed(self.releases) if Release(each.release) <= release), None)


@dataclass(frozen=True, slots=True)
class KnownLayout:
    """A layout that is known to suit a cluster, such as ``2 x atlas-800-a2``."""

    cluster: str
    topology: str
    tensor_parallel_size: int
    data_parallel_size: int
    note: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class ScenarioLayout:
    """Sizes of a scenario; ``npus`` as its source counts them, which may be more than the ranks."""

    npus: int
    tensor_parallel_size: int
    data_parallel_size: int = 1
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Scenario:
    """Settings for a purpose, which ``serve.scenario`` names: they lie over the profile's and under the operator's own.

    ``layout`` is what its source prints; whether these weights can have it is judged by ``scenarios.judged``."""

    title: str
    layout: ScenarioLayout
    source: str
    engine_args: Mapping[str, Argument] = field(default_factory=dict)
    env: Mapping[str, Scalar] = field(default_factory=dict)
    note: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Reference:
    """A published result to hold a measured one against."""

    metric: str
    value: float
    unit: str
    conditions: str
    source: str
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Profile:
    """One model. ``always`` applies to every cluster, ``multi_node`` to those of more than one node; ``mtp`` is what
    turns multi-token prediction on, for an operator to copy into ``serve.engine_args``; ``layouts`` are known to work,
    and ``scenarios`` are settings by purpose."""

    name: str
    title: str
    served_name: str
    hardware: tuple[Hardware, ...]
    shape: ModelShape
    weights: Weights
    tensor_parallel: TensorParallel
    releases: Releases
    always: Extras = field(default_factory=Extras)
    multi_node: Extras = field(default_factory=Extras)
    mtp: Mtp = field(default_factory=Mtp)
    layouts: tuple[KnownLayout, ...] = ()
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    references: tuple[Reference, ...] = ()
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


def profile_names() -> tuple[str, ...]:
    """All shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@cache
def load_profile(name: str) -> Profile:
    """The profile called ``name``. Raises ``ConfigError`` for an unknown name or a malformed file."""
    document = yamlio.load(_path(name))
    try:
        profile = TypeAdapter(Profile).validate_python(_extended(document))
    except ValidationError as error:
        first = error.errors()[0]
        raise document.error(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", first["loc"]) from error
    if profile.name != name:
        raise document.error(f"calls itself {profile.name!r}: name and file name must be the same", ["name"])
    return profile


def legal_tensor_parallel(shape: ModelShape | None, profile: Profile | None) -> tuple[int, ...]:
    """The tensor-parallel sizes that can work on Ascend, smallest first: the profile's, else all that the model's
    numbers allow. Empty: not known."""
    if profile and profile.tensor_parallel.legal:
        return tuple(sorted(profile.tensor_parallel.legal))
    heads = shape.heads if shape else 0
    return tuple(n for n in range(1, heads + 1) if shape and tensor_parallel_obstacle(shape, n) is None)


def _path(name: str) -> Path:
    if name not in profile_names():
        raise ConfigError(f"model.profile: no profile is called {name!r}", hint=_hint(name))
    return FOLDER / f"{name}.yaml"


def _extended(document: yamlio.Node, above: tuple[str, ...] = ()) -> dict[str, object]:
    """The document's keys over those of the profile that it extends, which may extend another."""
    own = dict(document.data)
    base = own.pop("extends", None)
    if not base:
        return own
    if base in above:
        raise document.error(f"extends {base}, which extends this profile again", ["extends"])
    return {**_extended(yamlio.load(_path(base)), (*above, base)), **own}


def _hint(name: str) -> str:
    near = near_names(name, profile_names())
    close = f"did you mean {or_list(near)}?" if near else f"known: {', '.join(profile_names())}"
    return f"{close}; null (or no profile) serves any model with the general rules only"
