"""Image, release and model: does this image fit the hardware, and this release the model (S09, S10, S17)."""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve import compatibility, verdicts
from provision.serve.argv import engine_arguments, positive
from provision.serve.features import asked
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.profiles import Profile
from provision.serve.releases import Release
from provision.serve.rules.base import Rule, fail, warn
from provision.serve.rules.model import utilization
from provision.serve.structured import structure, whole
from provision.serve.verdicts import Observed

_TAGS = "vllm-ascend installation guide: tags are v<release>[-a3|-310p|-950dt][-openeuler], no suffix is A2"


def image_suffix(layout: Layout) -> Iterator[Violation]:
    """S10: an image built for other hardware fails when its first kernel is loaded [vllm-ascend installation guide]."""
    legal, image = layout.accelerator.image_suffixes, layout.image
    if legal is not None and image.repository.endswith("vllm-openai"):
        yield fail(
            "S10",
            f"image {image.reference} is vLLM's own, for other hardware than Ascend NPUs",
            "vLLM: Using Docker; vllm-ascend installation guide",
            f"install.image: quay.io/ascend/vllm-ascend:v<release>{'-' + legal[0] if legal[0] else ''}",
        )
        return
    if legal is None or not image.known or not image.tag:
        return
    if image.hardware.lower() not in legal:
        built = f"built for {image.hardware.lower()}" if image.hardware else "built for a2 (no suffix)"
        yield fail(
            "S10",
            f"image {image.reference} is {built}, but hardware is {layout.accelerator.name}",
            _TAGS,
            f"install.image: {image.with_hardware(legal[0])}",
        )
    elif image.hardware != image.hardware.lower():
        yield fail(
            "S10",
            f"image tag {image.tag}: suffixes are lower case",
            _TAGS,
            f"install.image: {image.with_hardware(image.hardware.lower())}",
        )


def fixed_tag(layout: Layout) -> Iterator[Violation]:
    """S10: a tag that moves, or tells nothing [vllm-ascend installation guide]."""
    image = layout.image
    if layout.accelerator.image_suffixes is None or layout.head.install.method == "source":
        return
    if image.floating and not layout.head.install.pinned:
        yield warn(
            "S10",
            f"image tag {image.tag} moves: nodes that pull it at different times hold different images",
            "vllm-ascend installation guide",
            "name a release (v0.18.0), or pin it by install.digest: sha256:…, which up tells after its pull",
        )
    elif not image.known and not layout.head.install.pinned:
        yield warn(
            "S10",
            f"image tag {image.tag} tells neither release nor hardware, so neither could be checked",
            _TAGS,
            "make sure that it is built for this hardware; the same image on all nodes is checked later",
        )


def model_release(layout: Layout) -> Iterator[Violation]:
    """S09: the release serves the model, and what its notes say of it [the model's document; release notes]."""
    profile, release = layout.profile, layout.release
    if not profile or not release:
        return
    found = verdicts.troubles(_verdicts(layout), "model")
    if not any(verdict.outcome == "refuse" for verdict in found):
        yield from _release_note(layout, profile, release)
    for verdict in found:
        make = fail if verdict.outcome == "refuse" else warn
        yield make("S09", verdict.reason, verdict.source, verdict.remedy)


def known_combination(layout: Layout) -> Iterator[Violation]:
    """S09: the release is one of the table, and has in it what the features in use need [vllm-ascend versioning policy;
    graph mode guide]."""
    for verdict in verdicts.troubles(_verdicts(layout), "release", "feature"):
        make = fail if verdict.outcome == "refuse" else warn
        yield make("S09", verdict.reason, verdict.source, verdict.remedy)


def _verdicts(layout: Layout) -> tuple[verdicts.Verdict, ...]:
    """What the table says of the layout with no node looked at."""
    rows = compatibility.table(layout.head.compatibility)
    return verdicts.judge(asked(layout, rows), Observed(), rows)


def _release_note(layout: Layout, profile: Profile, release: Release) -> Iterator[Violation]:
    note = profile.releases.entry(release)
    if note is None:
        return
    source, other = "vllm-ascend release notes", "use another release"
    wanted = {"expert-parallel": layout.expert_parallel, "mtp": speculative(layout)}
    for feature in note.forbids:
        if wanted[feature]:
            reason = f"{feature} does not work for {profile.title} on vllm-ascend {release}: {note.statement}"
            yield fail("S09", reason, source, f"turn {feature} off, or use a later release")
    if note.max_utilization is not None and utilization(layout, 0) > note.max_utilization:
        reason = f"gpu_memory_utilization {utilization(layout, 0)} on vllm-ascend {release}: {note.statement}"
        yield warn("S09", reason, source, f"set serve.gpu_memory_utilization: {note.max_utilization}, or {other}")
    elif note.level == "fail":
        yield fail("S09", f"vllm-ascend {release}: {note.statement}", source, other)
    elif note.level == "warn":
        yield warn("S09", f"vllm-ascend {release}: {note.statement}", source, other)


def profile_hardware(layout: Layout) -> Iterator[Violation]:
    """S09: a profile's settings are meant for certain hardware [the profile]."""
    if layout.profile and not layout.profile_fits:
        yield warn(
            "S09",
            f"profile {layout.profile.name} is for {', '.join(layout.profile.hardware)}: on {layout.accelerator.name} "
            "its arguments, environment and rules are not applied",
            layout.profile.weights.source,
            "leave model.profile out for other models and hardware",
        )


def mtp_with_prefix_caching(layout: Layout) -> Iterator[Violation]:
    """S17: the pair silently corrupted answers of hybrid models [vllm-ascend issue 11353]."""
    profile, release = layout.profile, layout.release
    if not profile or not release or not profile.releases.mtp_prefix_caching:
        return
    since = Release(profile.releases.mtp_prefix_caching)
    if release < since and speculative(layout) and prefix_caching(layout):
        yield fail(
            "S17",
            f"MTP with prefix caching silently corrupts answers of {profile.title} before vllm-ascend {since}",
            "vllm-ascend issue 11353",
            f"set no-enable-prefix-caching: true in serve.engine_args, or use {since} or later",
        )


def captured_graphs(layout: Layout) -> Iterator[Violation]:
    """S17: with MTP a decode step handles 1 + num_speculative_tokens tokens of each request, so graphs of whole steps
    are captured for multiples of it [vllm-ascend tests of Qwen3-Next with MTP]."""
    drafted = whole(structure(layout, 0, "speculative-config").get("num_speculative_tokens"))
    config = structure(layout, 0, "compilation-config")
    sizes = config.get("cudagraph_capture_sizes") or engine_arguments(layout, 0).get("cudagraph-capture-sizes")
    if not drafted or not isinstance(sizes, list) or not str(config.get("cudagraph_mode", "")).startswith("FULL"):
        return
    wrong = [size for size in sizes if isinstance(size, int) and size % (drafted + 1)]
    if wrong:
        step = drafted + 1
        near = sorted({max(step, size - size % step) for size in wrong})
        yield warn(
            "S17",
            f"graphs are captured for {', '.join(map(str, wrong))} tokens: no multiples of {step}, the tokens of a "
            f"step with {drafted} drafted",
            "vllm-ascend tests of Qwen3-Next with MTP",
            f"cudagraph_capture_sizes: multiples of {step}, such as {', '.join(map(str, near))}",
        )


def speculative(layout: Layout) -> bool:
    """Whether multi-token prediction (or another draft) is on."""
    arguments = engine_arguments(layout, 0)
    return any(name.partition(".")[0] == "speculative-config" and value for name, value in arguments.items())


def prefix_caching(layout: Layout) -> bool:
    """Whether prefix caching is on: vLLM's default where nothing is said."""
    for name, value in engine_arguments(layout, 0).items():
        if positive(name) == "enable-prefix-caching" and value is not None:
            return bool(value) == (name == "enable-prefix-caching")
    return True


RULES: tuple[Rule, ...] = (
    image_suffix,
    fixed_tag,
    model_release,
    known_combination,
    profile_hardware,
    mtp_with_prefix_caching,
    captured_graphs,
)
