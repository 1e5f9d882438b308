"""What was asked for, as numbers: the sites with their settings, and all that follows from them by arithmetic alone.

The rules judge a ``Layout``, the topologies seat its processes, and ``argv`` and ``environment`` read it. A layout
may be impossible: it is ``lint`` that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from provision.accel.protocol import Accelerator, accelerator
from provision.inventory.model import Settings, Source
from provision.serve.images import ImageRef, parse_image
from provision.serve.plan import Site
from provision.serve.profiles import Profile, load_profile
from provision.serve.releases import Release, parse_release
from provision.serve.shape import ModelShape

UNLIMITED = 1_000_000
"""Devices of a node on hardware that has none to hand out."""

ROUTED = frozenset({"replicas", "hybrid-dp", "external-dp", "prefill-decode"})
"""Topologies of several APIs, with a router before them."""

SPANNING = frozenset({"tensor-parallel", "pipeline-parallel", "ray"})
"""Topologies whose one engine has ranks on all nodes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``sites[0]`` is the head; ``settings`` are by site. ``tp``, ``pp`` and ``dp`` are sizes over all its sites.

    A topology may cut a layout into groups, each a layout with a topology of its own: ``group`` is then its name,
    ``role`` what it does (prefill, decode). ``port`` is that of the first API of each site.
    """

    sites: tuple[Site, ...]
    settings: tuple[Settings, ...]
    accelerator: Accelerator
    image: ImageRef
    topology: str
    tp: int
    pp: int
    dp: int
    profile: Profile | None = None
    shape: ModelShape | None = None
    port: int = 0
    group: str = ""
    role: str = ""

    @property
    def head(self) -> Settings:
        """The head's settings: for what is the same on all nodes."""
        return self.settings[0]

    @property
    def nodes(self) -> int:
        return len(self.sites)

    @property
    def release(self) -> Release | None:
        """The vllm-ascend release that the image's tag or ``install.source`` names; None where neither does, and on
        cpu."""
        if self.accelerator.image_suffixes is None:
            return None
        install = self.head.install
        return source_release(install.source) if install.method == "source" else self.image.release

    @property
    def spans_nodes(self) -> bool:
        """Whether one engine's ranks are spread over the nodes."""
        return self.topology in SPANNING and self.nodes > 1

    @property
    def routed(self) -> bool:
        """Whether a router stands before its servers."""
        return self.topology in ROUTED and self.head.serve.router.kind != "none"

    @property
    def local_engines(self) -> int:
        """Data-parallel engines of each node; 0 where they don't come out evenly."""
        return self.dp // self.nodes if self.dp % self.nodes == 0 else 0

    @property
    def context_parallel(self) -> int:
        """Ranks among which a prompt is split (``prefill-context-parallel-size``): they multiply those of an engine."""
        for name, value in self.head.serve.engine_args.items():
            if name.replace("_", "-").lstrip("-") in ("prefill-context-parallel-size", "pcp") and isinstance(
                value, int
            ):
                return max(1, value)
        return 1

    @property
    def devices_needed(self) -> int:
        """Devices that each node must give, rounded up where ranks don't come out evenly."""
        ranks = self.tp * self.pp * self.context_parallel * self.dp
        return -(-ranks // self.nodes)

    @property
    def devices_available(self) -> int:
        """Devices of the node that has the fewest."""
        if not self.accelerator.default_devices:
            return UNLIMITED
        return min(len(site.devices) for site in self.sites)

    @property
    def experts(self) -> int:
        return self.shape.experts if self.shape else 0

    @property
    def expert_parallel(self) -> bool:
        """As asked for; else on for a mixture of experts over more than one rank, except where the release is known
        not to do it, and except on cpu, whose build has no such kernels."""
        asked = self.expert_parallel_asked
        if asked is not None or self.head.serve.as_given:
            return bool(asked)
        return (
            bool(self.experts and self.accelerator.default_devices) and self.tp * self.dp > 1 and self._release_does_ep
        )

    @property
    def expert_parallel_asked(self) -> bool | None:
        """``serve.expert_parallel``, or the same said by ``serve.engine_args``; None where neither says."""
        if self.head.serve.expert_parallel is not None:
            return self.head.serve.expert_parallel
        for name, value in self.head.serve.engine_args.items():
            if name.replace("_", "-") == "enable-expert-parallel" and isinstance(value, bool):
                return value
        return None

    @property
    def _release_does_ep(self) -> bool:
        entry = self.profile.releases.entry(self.release) if self.profile and self.release else None
        return entry is None or "expert-parallel" not in entry.forbids

    @property
    def profile_fits(self) -> bool:
        """Whether the profile is one for this hardware, so that its rules hold."""
        return self.profile is not None and self.accelerator.name in self.profile.hardware

    @property
    def profile_applies(self) -> bool:
        """Whether the profile's arguments and environment are added: it fits, and not just what is given is to run."""
        return self.profile_fits and not self.head.serve.as_given

    @property
    def served_name(self) -> str:
        """``model.served_name``, else the profile's, else the name of the weights' folder; as given, vLLM's own
        default: the path."""
        model = self.head.model
        if self.head.serve.as_given and not model.served_name:
            return model.path
        folder = model.path.rstrip("/").rsplit("/", 1)[-1]
        return model.served_name or (self.profile.served_name if self.profile else folder) or "model"

    def device_bytes(self, site: Site) -> int:
        """Memory of one device of a site in bytes; 0 where it is no limit."""
        return site.device_bytes or self.accelerator.device_bytes

    def devices_of(self, site: Site) -> tuple[int, ...]:
        """The devices that the processes of a site take: the first that suffice, in whole modules."""
        size = self.accelerator.module_size
        needed = -(-self.devices_needed // size) * size
        return tuple(sorted(site.devices)[:needed])


def source_release(source: Source) -> Release | None:
    """The release of vllm-ascend that is built: what is built of it counts before the release it is taken for."""
    own = (source.vllm_ascend or "").rpartition("==")[2]
    return parse_release(own) or parse_release(source.release or "")


def _is_routed(settings: Settings) -> bool:
    return settings.serve.topology in ROUTED and settings.serve.router.kind != "none"


def layout_of(settings_by_site: Sequence[tuple[Site, Settings]], shape: ModelShape | None = None) -> Layout:
    """The layout that the head's settings ask for. ``shape`` is what the weights' own config.json says, where it has
    been read; it outranks the profile's. Raises ``ConfigError`` for an unknown profile, ``ValueError`` without
    sites."""
    if not settings_by_site:
        raise ValueError("a layout needs at least one site")
    head = settings_by_site[0][1]
    profile = load_profile(head.model.profile) if head.model.profile else None
    return Layout(
        sites=tuple(site for site, _ in settings_by_site),
        settings=tuple(settings for _, settings in settings_by_site),
        accelerator=accelerator(head.hardware),
        image=parse_image(head.install.image if head.install.method == "image" else ""),
        topology=head.serve.topology,
        tp=head.serve.tensor_parallel_size,
        pp=head.serve.pipeline_parallel_size,
        dp=head.serve.data_parallel_size,
        profile=profile,
        shape=shape or (profile.shape if profile else None),
        port=head.serve.server_port if _is_routed(head) else head.serve.port,
    )
