"""What the table of compatibility says of a cluster: verdicts, by lookup alone.

From what is declared and what was observed, with no node touched here. What the table does not know is ``unknown``,
which warns and stops nothing: a table is always behind the world. Only what upstream states as a hard need is refused;
what is advice, or is derived from the files, warns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from provision.accel.ascend.version import parse_version
from provision.serve.compatibility import OWN, CannRow, FeatureRow, Need, Table, release_key
from provision.serve.profiles import load_profile

Outcome = Literal["ok", "warn", "unknown", "refuse"]
Subject = Literal["release", "model", "hardware", "driver", "feature", "cann", "family", "python", "package"]


@dataclass(frozen=True, slots=True)
class Declared:
    """What an inventory asks for. ``hardware`` as ``qnext.hardware``; ``release`` is ``0.18.0``, ``main``, or empty
    where the image's tag names none; ``model`` is a profile's name, or empty."""

    hardware: str
    release: str = ""
    features: tuple[str, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a node and its image hold; empty where it was not looked at. ``hdk`` is the installed driver's version,
    ``driver_inner`` its Innerversion, ``driver_compatible`` the families it names itself. ``cann``, ``python``, ``soc``
    and ``packages`` are those that the server uses: of the image. ``cann_drivers`` are the drivers' families in its own
    install record, where that was read."""

    hdk: str = ""
    driver_inner: str = ""
    driver_compatible: tuple[str, ...] = ()
    cann: str = ""
    cann_family: str = ""
    cann_drivers: tuple[str, ...] = ()
    python: str = ""
    soc: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the table says of one thing. ``unknown`` is to be shown as a warning, ``refuse`` as a failure."""

    subject: Subject
    outcome: Outcome
    reason: str
    source: str
    remedy: str = ""
    expected: str = ""
    observed: str = ""


Judge = Callable[[Declared, Observed, Table], Iterator[Verdict]]


def judge(declared: Declared, observed: Observed, rows: Table) -> tuple[Verdict, ...]:
    """All verdicts on what is known, ``ok`` ones included. What was not observed has no verdict. Raises ``ConfigError``
    for an unknown profile, and for nothing that a node says."""
    return tuple(verdict for each in JUDGES for verdict in each(declared, observed, rows))


def troubles(verdicts: Sequence[Verdict], *subjects: Subject) -> tuple[Verdict, ...]:
    """Those that are not ``ok``, of these subjects (none: of all)."""
    return tuple(v for v in verdicts if v.outcome != "ok" and (not subjects or v.subject in subjects))


def release_is_known(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """The release stands in the table [vllm-ascend versioning policy]."""
    if not declared.release:
        return
    row = rows.release(declared.release)
    name = release_key(declared.release)
    if row:
        yield Verdict("release", "ok", f"vllm-ascend {name} is in the table", row.source, observed=name)
        return
    yield Verdict(
        "release",
        "unknown",
        f"nothing is known of vllm-ascend {name}: what it needs of CANN, driver and Python is not judged",
        rows.sources["policy"],
        f"use a release of the table, or tell what it needs: qnext.compatibility: {{releases: {{{name}: "
        "{cann: …, min_hdk: …}}}",
        expected="a release of the table",
        observed=name,
    )


def model_is_served(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """The release serves the model, and stably [the model's own document, named by its profile]."""
    release = parse_version(declared.release)
    if not release or not declared.model:
        return
    profile, own = load_profile(declared.model), rows.models.get(declared.model)
    first = (own and own.first) or profile.releases.first
    stable = (own and own.stable) or profile.releases.stable
    least, good = parse_version(first), parse_version(stable)
    name, source = declared.release.removeprefix("v"), OWN if own else profile.releases.source
    remedy = f"use an image of {stable} or later"
    if least and release < least:
        reason = f"vllm-ascend {name} does not know {profile.title}: first supported in {first}"
        yield Verdict("model", "refuse", reason, source, remedy, f"{first} or later", name)
    elif good and release < good and not _candidate_of(declared.release, stable):
        reason = f"{profile.title} runs stably from vllm-ascend {stable} on; this is {name}"
        yield Verdict("model", "warn", reason, source, remedy, f"{stable} or later", name)
    else:
        yield Verdict("model", "ok", f"vllm-ascend {name} serves {profile.title}", source, observed=name)


def hardware_fits(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """The image is built for the node's NPUs: one for others fails when its first kernel is loaded [vllm-ascend
    device/hardware.py: SOC_VERSION]."""
    wanted = rows.hardware_named(declared.hardware)
    if not observed.soc or wanted is None:
        return
    built = rows.hardware_of(observed.soc)
    source = rows.sources["setup"]
    suffix = f"-{wanted.suffix}" if wanted.suffix else "none"
    remedy = f"use the tag with this hardware's suffix ({suffix} for {wanted.title})"
    if built is None:
        reason = f"the image is built for {observed.soc}, of which nothing is known"
        yield Verdict("hardware", "unknown", reason, source, remedy, wanted.title, observed.soc)
    elif built != wanted:
        built_for = built.inventory or built.title
        reason = f"the image is built for {observed.soc} ({built_for}), not for {declared.hardware}"
        yield Verdict("hardware", "refuse", reason, source, remedy, declared.hardware, observed.soc)
    else:
        reason = f"the image is built for {observed.soc}"
        yield Verdict("hardware", "ok", reason, source, observed=observed.soc)


def driver_is_advised(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """The driver (HDK) is not older than is advised. No document prints a minimum for a release, so this warns [domain
    2.4; vllm-ascend issue 7477]."""
    least, source = rows.least_driver(declared.release)
    if not observed.hdk or not least:
        return
    have, wanted = parse_version(observed.hdk), parse_version(least)
    if have is None:
        reason = f"driver {observed.hdk} is no version that can be compared"
        yield Verdict("driver", "unknown", reason, source, _tell(least), f"{least} or later", observed.hdk)
    elif wanted and have < wanted:
        name = release_key(declared.release)
        reason = f"driver (HDK) {observed.hdk} is older than {least}, which is advised for vllm-ascend {name}"
        remedy = (
            f"upgrade driver and firmware to HDK {least} or later; or, where it is known to work: qnext.compatibility: "
            f"{{releases: {{{name}: {{min_hdk: {_plain(observed.hdk)}}}}}}}"
        )
        yield Verdict("driver", "warn", reason, source, remedy, f"{least} or later", observed.hdk)
    else:
        yield Verdict("driver", "ok", f"driver (HDK) {observed.hdk}", source, "", f"{least} or later", observed.hdk)


def features_have_their_needs(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """What the server is told to use works with driver, CANN and Mooncake [vllm-ascend graph mode, KV pool guide]."""
    row = rows.release(declared.release)
    have = {
        "hdk": observed.hdk,
        "cann": observed.cann or (row.cann if row else ""),
        "mooncake": observed.packages.get("mooncake", row.mooncake if row else ""),
    }
    for name in declared.features:
        feature = rows.features[name]
        if feature.needs and (not feature.hardware or declared.hardware in feature.hardware):
            yield from _feature(feature, have)


def _feature(feature: FeatureRow, have: Mapping[str, str]) -> Iterator[Verdict]:
    states = [_state(need, have) for need in feature.needs]
    if True in states:
        yield Verdict("feature", "ok", f"{feature.title} has what it needs", feature.source)
    elif all(state is False for state in states):
        expected = ", or ".join(str(need) for need in feature.needs)
        words = {"hdk": "driver (HDK)", "cann": "CANN", "mooncake": "Mooncake"}
        asked = {key for need in feature.needs for key in have if getattr(need, key)}
        observed = ", ".join(f"{words[key]} {have[key]}" for key in have if key in asked and have[key])
        yield Verdict(
            "feature",
            "refuse",
            f"{feature.title} needs {expected}; here: {observed}",
            feature.source,
            f"upgrade what is too old, {feature.remedy}",
            expected,
            observed,
        )


def _state(need: Need, have: Mapping[str, str]) -> bool | None:
    """Whether a need is met; None where something it asks of was not observed, and nothing it asks of is too old."""
    found = [_reached(have[key], getattr(need, key)) for key in ("hdk", "cann", "mooncake") if getattr(need, key)]
    return False if False in found else (None if None in found else True)


def _reached(have: str, least: str) -> bool | None:
    observed, wanted = parse_version(have), parse_version(least)
    return observed >= wanted if observed and wanted else None


def cann_is_the_releases(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """CANN is the one that the release is built with [vllm-ascend versioning policy]."""
    row = rows.release(declared.release)
    if not row or not row.cann or not observed.cann:
        return
    name, same = release_key(declared.release), parse_version(row.cann) == parse_version(observed.cann)
    reason = f"CANN {observed.cann} is in use; vllm-ascend {name} is made for {row.cann}"
    remedy = f"use the image of {name} as published; or tell that it works: qnext.compatibility: {{releases: {{{name}: "
    remedy += f"{{cann: {_plain(observed.cann)}}}}}}}"
    outcome: Outcome = "ok" if same else "warn"
    yield Verdict("cann", outcome, reason, row.source, "" if same else remedy, row.cann, observed.cann)


def driver_knows_cann(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """The driver's family is one that CANN's install record names, or the two name each other's. Derived from the files
    alone, so it warns [compatible_version of ascend_toolkit_install.info and of the driver's version.info]."""
    release = rows.release(declared.release)
    version = observed.cann or (release.cann if release else "")
    row = rows.cann_of(version) or CannRow()
    drivers = observed.cann_drivers or row.drivers
    toolkit = _family(observed.cann_family) or row.family
    own = _family(observed.driver_inner)
    if not drivers or not own:
        return
    source = rows.sources["record"]
    knows = own in drivers or own == toolkit or toolkit in observed.driver_compatible
    if knows:
        yield Verdict("family", "ok", f"CANN {version} works with drivers of {own}", source, observed=own)
        return
    yield Verdict(
        "family",
        "warn",
        f"CANN {version} does not name drivers of family {own} (driver {observed.hdk or 'version unknown'})",
        source,
        "use the driver of an HDK release that CANN's release notes name; or tell that it works: qnext.compatibility: "
        f"{{cann: {{{version}: {{drivers: [{own}]}}}}}}",
        ", ".join(drivers),
        own,
    )


def python_is_in_range(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """Python lies in the release's range [vllm-ascend versioning policy]."""
    row = rows.release(declared.release)
    if not row or not row.python or not observed.python:
        return
    inside = _in_range(observed.python, row.python)
    if inside is None:
        return
    name = release_key(declared.release)
    reason = f"Python {observed.python}; vllm-ascend {name} takes {row.python}"
    remedy = "" if inside else f"use the image of {name} as published"
    yield Verdict("python", "ok" if inside else "warn", reason, row.source, remedy, row.python, observed.python)


def packages_are_the_releases(declared: Declared, observed: Observed, rows: Table) -> Iterator[Verdict]:
    """vLLM, torch, torch_npu, triton-ascend and Mooncake are those of the release [vllm-ascend versioning policy]."""
    row = rows.release(declared.release)
    for name, version in observed.packages.items() if row else ():
        wanted = str(getattr(row, name.replace("-", "_"), ""))
        if not wanted or not version:
            continue
        same = parse_version(wanted) == parse_version(version)
        release = release_key(declared.release)
        reason = f"{name} {version} is installed; vllm-ascend {release} is made for {wanted}"
        remedy = "" if same else f"use the image of {release} as published, without packages of one's own"
        source = row.source if row else ""
        yield Verdict("package", "ok" if same else "warn", reason, source, remedy, wanted, version)


JUDGES: tuple[Judge, ...] = (
    release_is_known,
    model_is_served,
    hardware_fits,
    driver_is_advised,
    features_have_their_needs,
    cann_is_the_releases,
    driver_knows_cann,
    python_is_in_range,
    packages_are_the_releases,
)


def image_stack(env: Mapping[str, str]) -> Observed:
    """What an image's environment tells of what is inside: ``SOC_VERSION``, Python by its folder in PATH, CANN by its
    versioned folder [vllm-ascend's Dockerfiles; /usr/local/Ascend/cann-8.5.0 since CANN 8.5]."""
    text = "\n".join(env.values())
    python = re.search(r"/python(3\.\d{1,2}(?:\.\d{1,2})?)(?:/|$)", env.get("PATH", ""))
    cann = re.search(r"/Ascend/(?:cann-|ascend-toolkit/)(\d[\w.]*)", text)
    return Observed(
        cann=cann[1] if cann else "", python=python[1] if python else "", soc=env.get("SOC_VERSION", "").strip()
    )


def _candidate_of(release: str, final: str) -> bool:
    """Whether ``release`` is a candidate of ``final``: 0.16.0rc1 of 0.16.0, the floor that the documents name."""
    return release.removeprefix("v").partition("rc")[0] == final.removeprefix("v")


def _family(inner: str) -> str:
    """V100R001C15 of V100R001C15SPC006B220."""
    match = re.match(r"V\d+R\d+C\d+", inner)
    return match[0] if match else ""


def _in_range(version: str, wanted: str) -> bool | None:
    """Whether a version lies in a range as pip writes it; None where it cannot be told."""
    have = parse_version(version)
    for sign, number in re.findall(r"(>=|<=|==|!=|<|>)\s*([0-9.]+)", wanted):
        limit = parse_version(number)
        if have is None or limit is None:
            return None
        holds = {"<": have < limit, ">": have > limit, "<=": have <= limit, ">=": have >= limit}
        if not holds.get(sign, (have == limit) is (sign == "==")):
            return False
    return True


def _plain(version: str) -> str:
    """A version that an inventory takes."""
    match = re.match(r"\d+(\.[0-9A-Za-z]+)*", version)
    text = match[0] if match else version
    return f'"{text}"' if re.fullmatch(r"\d+(\.\d+)?", text) else text


def _tell(least: str) -> str:
    return f"make sure by hand that the driver is HDK {least} or later"
