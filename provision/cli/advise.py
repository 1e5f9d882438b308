"""``advise``: the layouts that these nodes and this model could have, judged and ranked, touching no node."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.options import inventory_option, json_option, load_hosts, print_json

if TYPE_CHECKING:
    from provision.inventory.model import Inventory, Settings
    from provision.serve.advise import Advice, Purpose, Row
    from provision.serve.layout import Layout
    from provision.serve.plan import Site
    from provision.serve.shape import ModelShape

FAILED = 3
"""Exit status where no layout can work [design, section 9]."""

WIDTH = 100
_SHOWN = 8
_SHOWN_REASONS = 6
_GAP = "  "


@click.command("advise", short_help="List the layouts that these nodes and this model could have, the best first.")
@inventory_option
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["throughput", "latency", "context"]),
    default="throughput",
    show_default=True,
    help="What to rank for: many answers at once, each answer soon, or the longest requests.",
)
@click.option(
    "--model",
    "model",
    metavar="PROFILE|FILE",
    help="A profile's name, or the config.json (or folder) of a model on this machine. Default: the inventory's.",
)
@click.option("--all", "everything", is_flag=True, help="Every layout that was judged, with each rejection's reason.")
@json_option
def command(inventory_path: Path, purpose: Purpose, model: str | None, everything: bool, as_json: bool) -> int:
    """List the layouts that these nodes and this model could have. No node is touched.

    Each is judged by the rules of `lint`; the valid ones are ranked by what can be counted: what crosses between nodes,
    engines, idle devices, room for the KV cache, and whether upstream tests it. No speed is foretold. The best comes
    with the YAML to paste.

    Exit status 3 where no layout can work.

    \b
    Examples:
      qnext-provision advise -i cluster.yaml
      qnext-provision advise -i cluster.yaml --for latency --all
      qnext-provision advise -i cluster.yaml --model /data/weights/my-model/config.json --json
    """
    from provision.serve.advise import advise

    inventory, _ = load_hosts(inventory_path, None)
    layout = _layout(inventory, model)
    advice = advise(layout, purpose)
    if as_json:
        print_json(_plain(layout, advice))
    else:
        click.echo("\n".join(_text(layout, advice, everything)))
    return 0 if advice.of("valid") or advice.of("unadvised") else FAILED


# ---- which model


def _layout(inventory: Inventory, model: str | None) -> Layout:
    from provision.checks.layout import site_of
    from provision.serve.layout import layout_of

    pairs = [(site_of(host), host.settings) for host in inventory.hosts]
    shape: ModelShape | None = None
    if model is not None:
        pairs, shape = _for_model(pairs, model)
    return layout_of(pairs, shape)


def _for_model(
    pairs: Sequence[tuple[Site, Settings]], model: str
) -> tuple[list[tuple[Site, Settings]], ModelShape | None]:
    """The same hosts with another model: a profile, or what a file says, with the inventory's profile only where that
    is of the same model."""
    from provision.serve.local_model import read_model
    from provision.serve.profiles import load_profile, profile_names

    if model in profile_names() or not ("/" in model or Path(model).exists()):
        return [_with_profile(pair, load_profile(model).name) for pair in pairs], None
    local = read_model(Path(model))
    names = [profile.name for profile in local.profiles]
    wanted = pairs[0][1].model.profile
    return [_with_profile(pair, wanted if wanted in names else None) for pair in pairs], local.shape


def _with_profile(pair: tuple[Site, Settings], profile: str | None) -> tuple[Site, Settings]:
    site, settings = pair
    return site, settings.model_copy(update={"model": settings.model.model_copy(update={"profile": profile})})


# ---- as data


def _plain(layout: Layout, advice: Advice) -> dict[str, object]:
    from provision.facts.kinds import as_data
    from provision.serve.advise import paste

    ranks = {row: rank for rank, row in enumerate(advice.of("valid"), start=1)}

    def row(one: Row) -> dict[str, object]:
        data = as_data(one)
        assert isinstance(data, dict)
        return {
            "layout": one.text,
            "rank": ranks.get(one),
            **{key: value for key, value in data.items() if key != "candidate"},
            "serve": dict(paste(layout, one.candidate)),
            "roles": {role: dict(one.candidate.of_role(role)) for role in _roles(one)},
        }

    return {
        "for": advice.purpose,
        "nodes": advice.nodes,
        "devices": advice.devices,
        "hardware": layout.head.hardware,
        "release": str(layout.release) if layout.release else None,
        "model": _model(layout),
        "asked": {"layout": advice.asked.text, "status": advice.asked.status, "rank": advice.rank},
        "everywhere": as_data(advice.everywhere),
        "unknown": list(advice.unknown),
        "notes": list(advice.notes),
        "layouts": [row(one) for one in advice.rows],
    }


def _roles(row: Row) -> tuple[str, ...]:
    return ("prefill", "decode") if row.candidate.prefill else ()


def _model(layout: Layout) -> str:
    if layout.profile:
        return layout.profile.title
    return layout.shape.architecture if layout.shape and layout.shape.architecture else layout.head.model.path


# ---- as text


def _text(layout: Layout, advice: Advice, everything: bool) -> Iterator[str]:
    from provision.serve.advise import PURPOSES

    yield from _wrapped("", _head(layout, advice) + f". For {advice.purpose}: {PURPOSES[advice.purpose]}.")
    for text in (*advice.unknown, *advice.notes):
        yield from _wrapped("note  ", text)
    for violation in advice.everywhere:
        yield from _wrapped(f"{violation.severity:4}  {violation.code}  ", f"of every layout: {violation.reason}")
    yield ""
    valid = advice.of("valid")
    yield from _table(layout, valid if everything else valid[:_SHOWN])
    if not everything and len(valid) > _SHOWN:
        yield f"… and {len(valid) - _SHOWN} more: --all"
    yield ""
    yield from _asked(advice)
    yield from _unadvised(advice)
    yield from _rejected(advice, everything)
    best = next(iter((*valid, *advice.of("unadvised"))), None)
    if best:
        yield ""
        yield from _wrapped("", f"The best: {best.text}: {best.why}.")
        yield ""
        yield from _yaml(layout, best)


def _head(layout: Layout, advice: Advice) -> str:
    devices = f", {advice.devices} devices" if advice.devices else ""
    release = f", vllm-ascend {layout.release}" if layout.release else ""
    return f"{advice.nodes} x {layout.head.hardware}{devices}{release}: {_model(layout)}"


_COLUMNS = ("", "layout", "engines", "devices", "GB each", "cache", "at once", "crosses", "warns")
_LEGEND = (
    "GB each: weights a device; cache: tokens that an engine's KV cache holds; at once: requests of the longest kind, "
    "over all engines; crosses: between nodes; P and D of prefill-decode: DP x TP."
)


def _table(layout: Layout, rows: Sequence[Row]) -> Iterator[str]:
    """Numbers are right, words are left."""
    if not rows:
        yield "No layout of these nodes is valid for this model."
        return
    cells = [_COLUMNS, *(_cells(rank, row) for rank, row in enumerate(rows, start=1))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    for line in cells:
        placed = [
            text.ljust(width) if column in (1, 7, 8) else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield _GAP.join(placed).rstrip()
    yield from _wrapped("", _LEGEND)


def _cells(rank: int, row: Row) -> tuple[str, ...]:
    n = row.numbers
    crossing = ("nothing", "caches", "stages", "layers")[row.traffic.level]
    return (
        f"{'*' if row.asked else ''}{rank}",
        _named(row),
        str(n.engines),
        str(n.devices),
        f"{n.weights / 1e9:.1f}" if n.weights else "?",
        _thousands(n.cache),
        str(n.at_once) if n.cache is not None else "?",
        crossing,
        ",".join(dict.fromkeys(violation.code for violation in row.warnings)),
    )


def _named(row: Row) -> str:
    """The layout in short, of replicas with their number."""
    candidate = row.candidate
    if candidate.topology != "replicas":
        return candidate.short
    return candidate.short.replace("replicas  ", f"replicas  {row.numbers.engines // candidate.dp} of ")


def _thousands(tokens: int | None) -> str:
    if tokens is None:
        return "?"
    return f"{tokens / 1e6:.1f}M" if tokens >= 1e6 else f"{tokens // 1000}k"


def _asked(advice: Advice) -> Iterator[str]:
    row = advice.asked
    lead = f"* The inventory asks for {row.text}: "
    if row.status == "valid":
        yield from _wrapped("", f"{lead}{advice.rank} of {len(advice.of('valid'))} valid ones.")
    elif row.status == "unadvised":
        yield from _wrapped("", f"{lead}valid, but not advised: {row.evidence.text} [{row.evidence.source}].")
    else:
        yield from _wrapped("", f"{lead}rejected: {row.why}")


def _unadvised(advice: Advice) -> Iterator[str]:
    rows = advice.of("unadvised")
    for topology in dict.fromkeys(row.candidate.topology for row in rows):
        of_it = [row for row in rows if row.candidate.topology == topology]
        first = of_it[0]
        count = f"{len(of_it)} layout{'s' * (len(of_it) > 1)}"
        reason = f"{count}: {first.evidence.text} [{first.evidence.source}]"
        yield from _wrapped(f"Not advised: {topology}, ", reason)


def _rejected(advice: Advice, everything: bool) -> Iterator[str]:
    """Reasons with the layouts that each rejects, the commonest first; in short, one of those with the same source."""
    reasons: dict[tuple[str, ...], list[Row]] = {}
    for row in advice.of("rejected"):
        first = row.failures[0]
        key = (first.code, first.source, first.reason) if everything else (first.code, first.source)
        reasons.setdefault(key, []).append(row)
    ordered = sorted(reasons.values(), key=lambda rows: -len(rows))
    for rows in ordered if everything else ordered[:_SHOWN_REASONS]:
        shown = rows if everything else rows[:3]
        named = ", ".join(" ".join(row.candidate.short.split()) for row in shown)
        more = f" and {len(rows) - len(shown)} more" if len(rows) > len(shown) else ""
        first = rows[0].failures[0]
        yield from _wrapped(f"Rejected by {first.code}: ", f"{named}{more}: {first.reason} [{first.source}]")
    if len(ordered) > _SHOWN_REASONS and not everything:
        yield f"… and {len(ordered) - _SHOWN_REASONS} more reasons: --all"


def _yaml(layout: Layout, row: Row) -> Iterator[str]:
    """What to paste below ``qnext`` for all hosts, or the groups of the two roles."""
    from provision.serve.advise import paste

    candidate = row.candidate
    if candidate.prefill is None or candidate.decode is None:
        yield "serve:"
        yield from _keys("  ", paste(layout, candidate))
        if any(settings.serve.role or settings.serve.group for settings in layout.settings):
            yield "# and remove serve.role and serve.group of the hosts"
        return
    yield "vars:"
    yield "  qnext:"
    yield "    serve:"
    yield from _keys("      ", paste(layout, candidate))
    yield "children:"
    nodes = [site.node for site in layout.sites]
    split = candidate.prefill.nodes
    for role, hosts in (("prefill", nodes[:split]), ("decode", nodes[split:])):
        keys = ", ".join(f"{name}: {value}" for name, value in candidate.of_role(role).items())
        yield f"  {role}:"
        yield "    hosts:"
        yield from (f"      {host}:" for host in hosts)
        yield f"    vars: {{qnext: {{serve: {{{keys}}}}}}}"


def _keys(lead: str, keys: Mapping[str, str | int | None]) -> Iterator[str]:
    return (f"{lead}{name}: {'null' if value is None else value}" for name, value in keys.items())


def _wrapped(lead: str, text: str) -> list[str]:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return textwrap.wrap(
        text,
        min(WIDTH, columns),
        initial_indent=lead,
        subsequent_indent=" " * min(len(lead), 6),
        break_long_words=False,
        break_on_hyphens=False,
    )
