"""Fixes that outlive a run say how to take them back: a script in the cluster's folder on the node, which ``down`` runs.

The first fix of a thing records the value from before; later ones leave the record alone, so that ``down`` restores
what was there before this tool ever touched the node.
"""

from __future__ import annotations

from provision.actions import Run
from provision.inventory.model import Settings
from provision.shell import quote


def folder(settings: Settings) -> str:
    """Where a node keeps the records of what was fixed on it."""
    return f"{settings.state_dir}/{settings.cluster}/fixes"


def recorded(settings: Settings, *, label: str, name: str, do: str, undo: str, affects: frozenset[str]) -> Run:
    """An action that does ``do`` and first records ``undo`` under ``name`` (a file name), unless that is on record.

    Both are POSIX sh. ``undo`` must hold the old value itself; it is run once, by ``undo_all``.
    """
    place = folder(settings)
    file = quote(f"{place}/{name}.sh")
    script = f"""\
set -e
mkdir -p -- {quote(place)}
[ -e {file} ] || {{ printf '%s\\n' {quote(undo)} >{file}.new && mv -f {file}.new {file}; }}
{do}
"""
    return Run(label=label, script=script, affects=affects)


def kernel_setting(settings: Settings, name: str, *, old: str, new: str) -> Run:
    """An action that gives the kernel parameter ``name`` (as sysctl spells it) the value ``new`` until the next boot.

    It is put back to ``old`` only where it still has what we gave it: what somebody set since is theirs.
    """
    file, given = quote(f"/proc/sys/{name.replace('.', '/')}"), quote(f"{folder(settings)}/sysctl-{name}.given")
    return recorded(
        settings,
        label=f"sysctl -w {name}={new} (was {old})",
        name=f"sysctl-{name}",
        do=f"{_set(name, file, new)}\ncat {file} >{given}",
        undo=f'[ "$(cat {file})" != "$(cat {given})" ] || {{\n{_set(name, file, old)}\n}}',
        affects=frozenset({"sysctl"}),
    )


def _set(name: str, file: str, value: str) -> str:
    """POSIX sh: by sysctl, else without it, as procps is no part of a small system."""
    word = quote(f"{name}={value}")
    return f"if command -v sysctl >/dev/null; then sysctl -w {word}; else printf '%s\\n' {quote(value)} >{file}; fi"


def undo_all(settings: Settings) -> str:
    """POSIX sh that takes back all that is on record, each once; what fails is said and does not stop the others."""
    place = quote(folder(settings))
    return f"""\
for _f in {place}/*.sh; do
  [ -e "$_f" ] || continue
  sh "$_f" || echo "could not be taken back: $_f" >&2
done
"""
