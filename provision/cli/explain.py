"""``explain``: what a code, check, module, playbook or model profile is, from its own source.

``explain N09`` at 3 a.m. must answer: what the rule is, why, how it is judged, how to set or waive it, and who says so.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from provision.cli.options import json_option, print_json
from provision.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from provision.checks.base import CheckSpec
    from provision.serve.profiles import Profile

KINDS = ("module", "check", "playbook", "profile")
FURTHER = ("failure", "code")
"""Kinds of which there are hundreds: listed only where they are asked for."""

_LAYOUT = "layout"
_CITED = re.compile(r"\[([^\[\]]+)\]")
_LEVELS = {
    "fail": "fail: stops `up`, exit status 3",
    "warn": "warn: is reported, stops nothing",
    "info": "info: is shown with -v",
    "off": "off: isn't run",
}
_OF_LAYOUT = "fail where a layout can't work, warn where it may: each finding says so"
_SCOPES = {
    "static": "the inventory, before a node is touched (`lint` runs it too)",
    "node": "each node",
    "cluster": "all nodes together",
    "trial": "all nodes together, by trying it on them",
    "launched": "the servers that run; skipped while there are none",
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number or the like that the operator may set: its default as YAML, and what it is."""

    name: str
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class Explained:
    """What there is to say of a check or a code of the layout's rules, which has no ``name``. ``key`` is how
    inventories name it."""

    code: str
    name: str
    key: str
    rule: str
    why: str
    level: str
    scope: str
    deep: bool
    fixable: bool
    thresholds: tuple[Threshold, ...]
    sources: tuple[str, ...]
    file: str


@click.command(
    "explain",
    short_help="Explain a check, module, playbook, profile, failure or code.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("words", nargs=-1, metavar="[KIND] [NAME]")
@json_option
def command(words: tuple[str, ...], as_json: bool) -> None:
    """Explain one thing, all of a KIND (module, check, playbook, profile, failure, code), or list the first four.

    A failure is an entry of the failure catalogue; a code is what HCCL, CANN, the driver, torch_npu or npu-smi print
    (EI0006, 507899, ERR02200, -8005, hccl 9, drv 87, 0x80E01801).

    A check is named by its code or its name; a code of the layout's rules (S01 to S20, T4 to T7) has its own page. A
    model is named by the path of its config.json or its folder on this machine.

    \b
    Examples:
      qnext-provision explain N09
      qnext-provision explain npu-free
      qnext-provision explain check npu-free --json
      qnext-provision explain module image
      qnext-provision explain profile
      qnext-provision explain EI0006
      qnext-provision explain hccl-link-timeout
      qnext-provision explain failure
      qnext-provision explain model /data/weights/Qwen3-8B/config.json
    """
    if words[:1] in (("model",), ("models",)):
        _model(words[1:], as_json=as_json)
        return
    kind, name = _asked(words)
    if name is None:
        _list([kind] if kind else list(KINDS), as_json=as_json)
        return
    kind, name = _found(kind, name)
    if as_json and kind in FURTHER:
        print_json(_further(kind, name))
    elif not as_json:
        click.echo(_text(kind, name))
    elif kind == "check":
        from provision.facts.kinds import as_data

        print_json(as_data(explained(name)))
    else:
        print_json({"kind": kind, "name": name, "text": _text(kind, name)})


def _model(words: Sequence[str], *, as_json: bool) -> None:
    from provision.cli import explain_model

    if len(words) != 1:
        raise UsageError("explain model takes one path", hint="qnext-provision explain model FOLDER_OR_CONFIG_JSON")
    if as_json:
        print_json(explain_model.data(words[0]))
    else:
        click.echo(explain_model.page(words[0]))


def _asked(words: Sequence[str]) -> tuple[str | None, str | None]:
    """Kind and name, where they were given. Raises ``UsageError`` for other words."""
    bad = next((word for word in words if re.match(r"-\D", word)), None)
    if bad:
        raise click.NoSuchOption(bad)
    if len(words) == 2 and words[0].lower() in ("hccl", "drv") and words[1].isdigit():
        return "code", " ".join(words)
    if len(words) > 2:
        raise UsageError(f"explain takes a kind and a name, not {len(words)} words", hint="quote a name with blanks")
    kind = next((known for known in (*KINDS, *FURTHER) if words and words[0] in (known, known + "s")), None)
    if kind:
        return kind, words[1] if len(words) == 2 else None
    if len(words) == 2:
        near = difflib.get_close_matches(words[0], (*KINDS, *FURTHER), n=1)
        raise UsageError(
            f"'{words[0]}' is no kind of thing", hint=f"did you mean '{near[0]}'?" if near else f"one of {_or(KINDS)}"
        )
    return None, words[0] if words else None


def _found(kind: str | None, name: str) -> tuple[str, str]:
    """Kind and right name of what a word names. Raises ``UsageError`` with a did-you-mean where that is nothing."""
    from provision.cli import explain_failure
    from provision.registry import near_names, or_list

    known = {each: _names(each) for each in ([kind] if kind else ("check", "module", "playbook", "profile", "failure"))}
    for each, names in known.items():
        right = {_word(n): n for n in names}.get(_word(name))
        if each == "check":
            right = _checks_by_word().get(_word(name), right)
        if right:
            return each, right
    if kind in (None, "code") and (code := explain_failure.code_named(name)):
        return "code", code.code
    names = [name for each in (known if kind else {**known, "code": _names("code")}).values() for name in each]
    words = {_word(n): n for n in names}
    if "check" in known:
        words |= {word: word.upper() for word in _checks_by_word() if word not in words}
    near = [words[word] for word in near_names(_word(name), words)]
    hint = f"did you mean {or_list(near)}?" if near else "`qnext-provision explain` lists all"
    what = kind or "check, module, playbook, profile, failure or code"
    raise UsageError(f"no {what} '{name}'", hint=hint)


def _word(name: str) -> str:
    """As names are compared: ``s4`` means ``S04``."""
    return re.sub(r"^([a-z])(\d)$", r"\g<1>0\2", name.replace("-", "_").lower())


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _checks_by_word() -> dict[str, str]:
    """Names and codes of checks in small letters; codes of the layout's rules stand for themselves."""
    from provision import registry
    from provision.serve.rules.base import CODES

    specs = registry.checks()
    own = {word: spec.name for spec in specs for word in (spec.name, _word(spec.code))}
    return own | {_word(code): code for code in CODES if _word(code) not in own}


# ---- lists


def _list(kinds: Sequence[str], *, as_json: bool) -> None:
    rows = {kind: [(code, name, rule) for code, name, rule in _rows(kind)] for kind in kinds}
    if as_json:
        keys = ("code", "name", "rule")
        print_json([{"kind": kind, **dict(zip(keys, row, strict=True))} for kind in kinds for row in rows[kind]])
        return
    for kind in kinds:
        click.echo(f"{kind}s:")
        width = max((len(name) for _, name, _ in rows[kind]), default=0)
        for code, name, rule in rows[kind]:
            click.echo(f"  {code:4}{name:{width}}  {rule}" if code else f"  {name:{max(width, 26)}}  {rule}")
    if len(kinds) > 1:
        click.echo("\nMore of one: qnext-provision explain NAME, or a check's code: qnext-provision explain N09")
        click.echo("Failures and codes that are known: qnext-provision explain failure, qnext-provision explain code")


def _rows(kind: str) -> Iterator[tuple[str, str, str]]:
    """Code (of checks), name and rule of all of a kind."""
    if kind in FURTHER:
        from provision.cli import explain_failure

        told = explain_failure.rows() if kind == "failure" else explain_failure.code_rows()
        yield from (("", name, text) for name, text in told)
        return
    if kind != "check":
        yield from (("", name, _text(kind, name).splitlines()[0]) for name in _names(kind))
        return
    from provision import registry
    from provision.serve.rules.base import CODES

    for spec in registry.checks():
        yield spec.code, spec.name, spec.rule.replace("``", "`")
        if spec.name == _LAYOUT:
            yield from ((code, "", _sentence(rule)) for code, rule in CODES.items())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _names(kind: str) -> list[str]:
    from provision import registry

    if kind == "playbook":
        from provision.cli.main import playbook_folders
        from provision.engine.header import playbooks

        return sorted(playbooks(playbook_folders()))
    if kind == "profile":
        from provision.serve.profiles import profile_names

        return list(profile_names())
    if kind in FURTHER:
        from provision.cli import explain_failure

        return explain_failure.names() if kind == "failure" else [code for code, _ in explain_failure.code_rows()]
    return list(registry.names(kind + "s"))


# ---- checks and codes


def explained(name: str) -> Explained:
    """What there is to say of a check by name, or of a code of the layout's rules."""
    from provision import registry
    from provision.serve.rules.base import CODES

    return _rule(name) if name in CODES else _check(registry.check(name))


def _check(spec: CheckSpec) -> Explained:
    doc = inspect.cleandoc(spec.doc)
    return Explained(
        code=spec.code,
        name=spec.name,
        key=spec.name,
        rule=spec.rule,
        why=doc.partition("\n\n")[2].strip(),
        level=spec.level,
        scope=spec.scope,
        deep=spec.deep,
        fixable=spec.fix is not None,
        thresholds=tuple(_thresholds(spec.Args)),
        sources=_sources(doc),
        file=f"provision/checks/{spec.name}.py",
    )


def _thresholds(args: type[BaseModel]) -> Iterator[Threshold]:
    for name, info in args.model_fields.items():
        default = "required" if info.is_required() else _yaml(info.get_default(call_default_factory=True))
        yield Threshold(name, default, info.description or "")


def _yaml(value: object) -> str:
    """A value as one would write it into the inventory."""
    import yaml

    from provision.facts.kinds import as_data

    text = yaml.safe_dump(as_data(value), default_flow_style=True, width=1000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _rule(code: str) -> Explained:
    """A code of the layout's rules: what each of its rules says, from their docstrings."""
    from provision import registry
    from provision.checks.policy import LAYOUT_CODES
    from provision.serve.lint import RULES
    from provision.serve.rules.base import CODES
    from provision.serve.rules.nodes import ADDRESS_RULES

    spec = registry.check(_LAYOUT)
    rules = [rule for rule in dict.fromkeys((*ADDRESS_RULES, *RULES)) if (rule.__doc__ or "").startswith(f"{code}:")]
    said = [" ".join((rule.__doc__ or "").split()).removeprefix(f"{code}: ") for rule in rules]
    return Explained(
        code=code,
        name="",
        key=code if code in LAYOUT_CODES else _LAYOUT,
        rule=_sentence(CODES[code]),
        why="\n".join(f"- {text}" for text in said),
        level=spec.level,
        scope=spec.scope,
        deep=False,
        fixable=False,
        thresholds=(),
        sources=tuple(dict.fromkeys(source for text in said for source in _sources(text))),
        file=", ".join(dict.fromkeys(f"{rule.__module__.replace('.', '/')}.py" for rule in rules)) or "provision/serve",
    )


def _sources(text: str) -> tuple[str, ...]:
    """What a text cites, in brackets."""
    cited = (" ".join(found.group(1).split()) for found in _CITED.finditer(text))
    return tuple(dict.fromkeys(part.strip() for found in cited for part in found.split(";") if " " in part.strip()))


def _page(about: Explained) -> Iterator[str]:
    """The page of a check or code, as lines."""
    yield from (f"{about.code}  {about.name}".rstrip(), about.rule.replace("``", "`"), "")
    if about.why:
        yield from (about.why.replace("``", "`"), "")
    yield f"level      {_LEVELS[about.level] if about.scope != 'static' else _OF_LAYOUT}"
    yield f"judges     {_SCOPES[about.scope]}"
    if about.deep:
        yield "deep       takes long or starts a container: only with `check --deep`, or named with --only"
    yield f"mendable   {'`check --fix` mends what is safe to mend' if about.fixable else 'not by `check --fix`'}"
    if about.thresholds:
        yield "thresholds"
        width = max(len(f"{threshold.name}: {threshold.default}") for threshold in about.thresholds)
        for threshold in about.thresholds:
            yield f"  {f'{threshold.name}: {threshold.default}':{width}}  {threshold.description}".rstrip()
    yield from ("set it     in the inventory, for all hosts, a group or one host:", *_setting(about))
    yield from (
        "waive it   with a reason and a last day (`finding: TEXT` for one of several); it is still shown:",
        *_waiver(about),
    )
    yield f"source     {'; '.join((*about.sources, about.file))}"


def _setting(about: Explained) -> Iterator[str]:
    level = "warn" if about.level == "fail" else "fail"
    set_ones = [threshold for threshold in about.thresholds if threshold.default not in ("null", "required")]
    others = "".join(f", {threshold.name}: {threshold.default}" for threshold in set_ones[:2])
    yield "             qnext:"
    yield (
        f"               checks: {{{about.key}: {{level: {level}{others}}}}}"
        if others
        else (f"               checks: {{{about.key}: {level}}}")
    )


def _waiver(about: Explained) -> Iterator[str]:
    yield "             qnext:"
    yield f"               waive: {{{about.key}: {{reason: who knows of it and why, until: {_waived_until()}}}}}"


def _waived_until() -> str:
    """A day for the example: a month from now."""
    from datetime import timedelta

    from provision.checks.policy import today

    return (today() + timedelta(days=30)).isoformat()


# ---- texts


def _text(kind: str, name: str) -> str:
    if kind == "check":
        return "\n".join(_page(explained(name)))
    if kind in FURTHER:
        return _further_text(kind, name)
    texts = {"module": _module, "playbook": _playbook, "profile": _profile}
    return texts[kind](name)


def _further_text(kind: str, name: str) -> str:
    from provision.cli import explain_failure

    code = explain_failure.code_named(name) if kind == "code" else None
    return explain_failure.code_page(code) if code else explain_failure.page(name)


def _further(kind: str, name: str) -> dict[str, object]:
    from provision.cli import explain_failure

    code = explain_failure.code_named(name) if kind == "code" else None
    return explain_failure.code_data(code) if code else explain_failure.data(name)


def _module(name: str) -> str:
    from provision import registry

    spec = registry.module(name)
    rows = [inspect.cleandoc(spec.doc), "", f"scope: {spec.scope}", "arguments:"]
    for field, info in spec.Args.model_fields.items():
        default = "required" if info.is_required() else f"default {info.get_default(call_default_factory=True)!r}"
        rows.append(f"  {field} ({default}): {info.description or ''}")
    return "\n".join(rows if spec.Args.model_fields else [*rows[:-1], "arguments: none"])


def _playbook(name: str) -> str:
    from provision.cli.main import playbook_folders
    from provision.engine.header import playbooks, read_header

    path = playbooks(playbook_folders())[name]
    return f"{read_header(path).summary}\n\n{path}:\n{path.read_text()}"


def _profile(name: str) -> str:
    import yaml

    from provision.facts.kinds import as_data
    from provision.serve.profiles import load_profile

    profile = load_profile(name)
    said = yaml.safe_dump(as_data(profile), sort_keys=False, allow_unicode=True)
    return "\n".join([profile.title, "", said.rstrip("\n"), *_judged(profile)])


def _judged(profile: Profile) -> Iterator[str]:
    """What follows from a profile by arithmetic: its smallest layouts, and which scenarios' sizes can be true."""
    from provision.accel.protocol import accelerator
    from provision.cli.explain_model import lines_of
    from provision.serve.memory import minimum_layouts, weight_bytes
    from provision.serve.profiles import legal_tensor_parallel
    from provision.serve.scenarios import judged, longest_request, room_of

    legal, weights = legal_tensor_parallel(profile.shape, profile), weight_bytes(profile, None)
    share, tokens = room_of(profile, None, 1), longest_request(profile)
    if weights:
        yield from ("", f"smallest layouts with these settings and room for one request of {tokens} tokens:")
        found = minimum_layouts(
            weights, profile.shape, legal, utilization=share.budget, reserve=share.reserve, tokens=tokens
        )
        for minimum in found:
            yield from (f"  {minimum.hardware:14}{line}" for line in lines_of(minimum))
    if profile.scenarios:
        yield from ("", "scenarios (serve.scenario: NAME):")
    for name, scenario in profile.scenarios.items():
        hardware = accelerator(profile.hardware[-1])
        verdict = judged(profile, scenario, hardware.device_bytes, len(hardware.default_devices))
        asks = verdict.asks
        wants = f"TP {asks.tensor_parallel_size} and DP {asks.data_parallel_size}" if asks else "no layout on one node"
        yield f"  {name}: {scenario.title}; {wants}"
        if not verdict.valid:
            yield f"    valid: false for the sizes that its source prints: {verdict.reason}"
