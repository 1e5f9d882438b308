"""``explain``: what a module, check, playbook or model profile is, from its own source."""

from __future__ import annotations

import difflib
import inspect

import click

from provision.errors import UsageError

KINDS = ("module", "check", "playbook", "profile")


@click.command("explain", short_help="Explain a module, check, playbook or model profile from its source.")
@click.argument("kind", required=False, type=click.Choice(KINDS))
@click.argument("name", required=False)
def command(kind: str | None, name: str | None) -> None:
    """Explain one thing, or list all of a KIND.

    \b
    Examples:
      qnext-provision explain module image
      qnext-provision explain check npu-health
      qnext-provision explain profile
    """
    for each in [kind] if kind else KINDS:
        names = _names(each)
        if name is None or kind is None:
            click.echo(f"{each}s:")
            for known in names:
                click.echo(f"  {known:26} {_text(each, known).splitlines()[0]}")
            continue
        if name.replace("_", "-") not in [n.replace("_", "-") for n in names]:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(names)}"
            raise UsageError(f"no {each} '{name}'", hint=hint)
        click.echo(_text(each, name))


def _names(kind: str) -> list[str]:
    from provision import registry

    if kind == "playbook":
        from provision.cli.main import playbook_folders
        from provision.engine.header import playbooks

        return sorted(playbooks(playbook_folders()))
    if kind == "profile":
        from provision.serve.profiles import profile_names

        return list(profile_names())
    return [n for n in registry.names(kind + "s") if n not in ("base", "runner")]


def _text(kind: str, name: str) -> str:
    texts = {"module": _module, "check": _check, "playbook": _playbook, "profile": _profile}
    return texts[kind](name)


def _module(name: str) -> str:
    from provision import registry

    spec = registry.module(name)
    rows = [inspect.cleandoc(spec.doc), "", f"scope: {spec.scope}", "arguments:"]
    for field, info in spec.Args.model_fields.items():
        default = "required" if info.is_required() else f"default {info.default!r}"
        rows.append(f"  {field} ({default}): {info.description or ''}")
    return "\n".join(rows if spec.Args.model_fields else [*rows[:-1], "arguments: none"])


def _check(name: str) -> str:
    from provision import registry

    spec = registry.check(name)
    level = f"level: {spec.level} (qnext.checks.{spec.name})"
    return "\n".join([inspect.cleandoc(spec.doc), "", f"code: {spec.code}", level, f"scope: {spec.scope}"])


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
    return f"{profile.title}\n\n{yaml.safe_dump(as_data(profile), sort_keys=False, allow_unicode=True)}"
