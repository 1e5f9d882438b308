"""The command line: built-in commands, and every playbook as a command of its own.

Nothing heavy is imported until a command runs: ``--help`` reads only the headers of the playbooks.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
import traceback
from pathlib import Path

import click

import provision
from provision.cli.failure import exit_with
from provision.errors import Interrupted, ProvisionError
from provision.resources import shipped

BUILT_IN = {
    "status": ("provision.cli.status", "Show every process of the cluster as it is: state, age, health, image, drift."),
    "logs": ("provision.cli.logs", "Print or follow the logs of all processes, merged, each line with its process."),
    "diagnose": (
        "provision.cli.diagnose",
        "Say what failed first and what to do: of a cluster, an archive, a run, or log files.",
    ),
    "report": ("provision.cli.issue", "Write a failure as an issue for GitHub: versions, layout, commands, logs."),
    "verify": (
        "provision.cli.verify",
        "Ask the running cluster a set of questions and report which it answers rightly.",
    ),
    "render": ("provision.cli.render", "Write the launch scripts, touching no node; each can be run by hand."),
    "lint": ("provision.cli.lint", "Check the inventory and the layout, touching no node."),
    "import": ("provision.cli.import_", "Make an inventory of upstream's configurations, or of a working command."),
    "advise": ("provision.cli.advise", "List the layouts that these nodes and this model could have, the best first."),
    "facts": ("provision.cli.facts", "Show what is observed on the nodes."),
    "parse": ("provision.cli.parse", "Run a parser of tool outputs on a saved file."),
    "bundle": ("provision.cli.bundle", "Make, verify, show and load what a cluster without a network needs."),
    "explain": ("provision.cli.explain", "Explain a code, check, module, playbook or model profile from its source."),
    "schema": ("provision.cli.schema", "Print the JSON Schema of cluster.yaml."),
    "rehearse": ("provision.cli.rehearse", "Run a practice cluster on this machine, with faults on demand."),
}

ALIASES = {"plan-layout": "advise"}
"""Other names of commands, which help doesn't list."""

EPILOG = """\b
Examples:
  qnext-provision check -i cluster.yaml
  qnext-provision up -i cluster.yaml
  qnext-provision status -i cluster.yaml --json
  qnext-provision down -i cluster.yaml

Exit status: 0 done and proven, 1 failed, 2 usage or configuration, 3 checks
failed, 4 nodes unreachable, 5 locked, 6 drift, 130 interrupted.
"""


def playbook_folders() -> list[Path]:
    """Where playbooks are looked for, first found wins: ``./playbooks``, ``$QNEXT_PLAYBOOKS``, the shipped ones."""
    extra = [Path(p) for p in os.environ.get("QNEXT_PLAYBOOKS", "").split(os.pathsep) if p]
    return [p for p in [Path("playbooks"), *extra, shipped("playbooks")] if p.is_dir()]


class Commands(click.Group):
    """Built-ins by name, then playbooks by file name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from provision.engine.header import playbooks

        return sorted({*BUILT_IN, *playbooks(playbook_folders())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name in BUILT_IN:
            module, _ = BUILT_IN[cmd_name]
            command: click.Command = importlib.import_module(module).command
            return command
        from provision.engine.header import playbooks

        path = playbooks(playbook_folders()).get(cmd_name)
        if path is None:
            return None
        from provision.cli.playbook import playbook_command

        return playbook_command(path)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"no command '{name}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from provision.engine.header import playbooks, read_header

        rows = [(name, text) for name, (_, text) in BUILT_IN.items()]
        rows += [(name, read_header(path).summary) for name, path in playbooks(playbook_folders()).items()]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(provision.__version__, "-V", "--version", prog_name="qnext-provision")
def cli() -> None:
    """Provision vLLM on Ascend clusters: check, install, launch, prove, tear down.

    One inventory (cluster.yaml, valid for Ansible too) describes the cluster. Every command observes the nodes afresh,
    so running it again is always safe.
    """


GC_EVERY = 50_000
"""New objects between two looks of the garbage collector (Python: 700). Imports alone make so many that last for the
run, and few are cycles, that looking took a sixth of the CPU of a start."""


def main() -> None:
    """Entry point: runs a command; every error ends as one clear message and its exit status."""
    gc.set_threshold(GC_EVERY)
    _replace_closed_streams()
    try:
        exit_with(cli.main(prog_name="qnext-provision", standalone_mode=False))
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        exit_with(Interrupted("interrupted"))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except KeyboardInterrupt:
        exit_with(Interrupted("interrupted"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ProvisionError as error:
        exit_with(error)
    except Exception:
        click.echo(_redacted(traceback.format_exc()), err=True, nl=False)
        click.echo("error: this is a defect of qnext-provision; please report it with the lines above", err=True)
        sys.exit(1)


def _redacted(text: str) -> str:
    from provision.secrets import redact

    return redact(text)


def _replace_closed_streams() -> None:
    """Python has None for a standard stream that the caller closed (``2>&-``): what is written there is for nobody."""
    for name, mode, flags in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_WRONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode, closefd=False))
