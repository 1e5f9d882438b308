"""``render``: the exact launch scripts, offline; run by hand they start the same cluster. No lock-in."""

from __future__ import annotations

from pathlib import Path

import click

from provision.cli.options import inventory_option, json_option, load_hosts, print_json
from provision.errors import UsageError


@click.command("render", short_help="Write the launch scripts, touching no node; each can be run by hand.")
@inventory_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for node<index>.<process>.sh; default: print them."
)
@json_option
def command(inventory_path: Path, out: Path | None, as_json: bool) -> None:
    """Write one launch script a process: node<index>.<process>.sh, node indexes in inventory order; and a README.txt.

    Addresses come from qnext.data_address or ansible_host; where the interface is not named, the script finds it.

    \b
    Example:
      qnext-provision render -i cluster.yaml --out scripts/
    """
    from provision.facts.kinds import as_data
    from provision.serve.launch import declared
    from provision.serve.render import readme

    inventory, _ = load_hosts(inventory_path, None)
    launch = declared(inventory)
    if as_json:
        print_json({"plan": as_data(launch.plan), "scripts": {s.filename: s.text for s in launch.scripts}})
        return
    if out is None:
        for script in launch.scripts:
            click.echo(f"# ---- {script.filename}\n{script.text}")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for script in launch.scripts:
            path = out / script.filename
            path.write_text(script.text)
            path.chmod(0o755)
            click.echo(str(path))
        (out / "README.txt").write_text(readme(launch.plan, launch.scripts))
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from error
