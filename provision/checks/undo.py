"""Fixes that outlive a run say how to take them back: a script in the cluster's folder on the node, run by ``down``.

The first fix of a thing records the value from before; later ones leave the record alone, so that ``down`` restores
what was there before this tool ever touched the node. Where what we gave is gone since, by a reboot or by somebody's
hand, the record is of the past: the next fix records anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.actions import Run
from provision.findings import Finding
from provision.inventory.model import Settings
from provision.shell import quote


def folder(settings: Settings) -> str:
    """Where a node keeps the records of what was fixed on it."""
    return f"{settings.state_dir}/{settings.cluster}/fixes"


def recorded(
    settings: Settings, *, label: str, name: str, do: str, undo: str, holds: str, affects: frozenset[str]
) -> Run:
    """An action that does ``do`` and first records ``undo`` under ``name`` (a file name), unless that is on record and
    what an earlier ``do`` made still ``holds``.

    All are POSIX sh. ``undo`` must hold the old value itself; it is run once, by ``undo_all``.
    """
    place = folder(settings)
    file = quote(f"{place}/{name}.sh")
    script = f"""\
set -e
mkdir -p -- {quote(place)}
{{ [ -e {file} ] && {holds}; }} || {{ printf '%s\\n' {quote(undo)} >{file}.new && mv -f {file}.new {file}; }}
{do}
"""
    return Run(label=label, script=script, affects=affects)


PROC = "/proc/sys"
SYSCTL = "sysctl -w "
EMPTY = "(empty)"
"""What a finding has observed where a kernel parameter is an empty text."""


def kernel_fix(name: str, wanted: int | str) -> str:
    """What a finding's ``fix`` says where a kernel parameter is to be set; its ``observed`` is the value now."""
    return f"{SYSCTL}{name}={wanted}"


def kernel_remedy(name: str, wanted: int | str) -> str:
    """How an operator sets a kernel parameter for good."""
    return f"sysctl -w {name}={wanted}; to keep it: echo {name}={wanted} >>/etc/sysctl.d/90-vllm.conf"


def kernel_settings(settings: Settings, findings: Iterable[Finding]) -> Iterator[Run]:
    """The actions for findings with a ``kernel_fix``."""
    for finding in findings:
        name, _, new = finding.fix.removeprefix(SYSCTL).partition("=")
        old = "" if finding.observed == EMPTY else finding.observed
        yield kernel_setting(settings, name, old=old, new=new)


def kernel_setting(settings: Settings, name: str, *, old: str, new: str) -> Run:
    """An action that gives the kernel parameter ``name`` (as sysctl spells it) the value ``new`` until the next boot.

    It is put back to ``old`` only where it still has what we gave it: what somebody set since is theirs.
    """
    file, given = quote(f"{PROC}/{name.replace('.', '/')}"), quote(f"{folder(settings)}/sysctl-{name}.given")
    holds = f'[ -e {given} ] && [ "$(cat {file})" = "$(cat {given})" ]'
    return recorded(
        settings,
        label=f"sysctl -w {name}={new} (was {old or 'empty'})",
        name=f"sysctl-{name}",
        do=f"{_set(name, file, new)}\ncat {file} >{given}",
        undo=f"if {holds}; then\n{_set(name, file, old)}\nfi",
        holds=holds,
        affects=frozenset({"sysctl"}),
    )


def _set(name: str, file: str, value: str) -> str:
    """POSIX sh: by sysctl, else without it, as procps is no part of a small system; sysctl takes no empty value."""
    if not value:
        return f"echo >{file}"
    word = quote(f"{name}={value}")
    return f"if command -v sysctl >/dev/null; then sysctl -w {word}; else printf '%s\\n' {quote(value)} >{file}; fi"


def undo_all(settings: Settings) -> str:
    """POSIX sh that takes back all that is on record, each once; what fails is said, does not stop the others and stays
    on record. ``$_kept`` is then not empty."""
    place = quote(folder(settings))
    return f"""\
_kept=
for _f in {place}/*.sh; do
  [ -e "$_f" ] || continue
  if sh "$_f"; then rm -f -- "$_f"; else echo "could not be taken back: $_f" >&2; _kept=1; fi
done
"""
