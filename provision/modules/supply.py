"""Where weights come from when no node has them: a hub, a folder of the controller, another folder of a node.

No module of its own: ``weights`` says which files are to come onto which nodes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from provision.actions import Action, Job, On, Put, Run, Send
from provision.amounts import size_text
from provision.errors import CommandFailed, ProvisionError
from provision.install import hub
from provision.install.manifest import File
from provision.install.weights import (
    Hashing,
    bandwidth,
    copy_script,
    counted,
    hash_listed,
    home,
    list_path,
    list_text,
    remember_script,
)
from provision.inventory.model import Settings, WeightsSource
from provision.node import Node
from provision.results import ActionResult
from provision.shell import quote

Steps = Generator[On, Mapping[str, ActionResult], dict[str, float]]
"""Yields actions; returns the seconds that it took by node."""

CHANGED = frozenset({"weights", "model-folder", "disk"})
"""Facts that files which come alter."""

HUBS = ("huggingface", "modelscope")


@dataclass(frozen=True, slots=True)
class Order:
    """``files`` by node that are to come into ``folder``, the same on all."""

    settings: Settings
    source: WeightsSource
    folder: str
    files: Sequence[tuple[Node, Sequence[File]]]
    listing: hub.Listing | None = None


def supplied(order: Order) -> Steps:
    """Bring the files from the source. Each is verified on the node. Raises ``ProvisionError`` with a remedy."""
    if order.source.kind in HUBS:
        return (yield from _downloaded(order))
    if order.source.kind == "controller":
        return (yield from _sent(order))
    return (yield from _copied(order))


# ---- a hub


def listing(node: Node, settings: Settings, source: WeightsSource) -> hub.Listing:
    """What the hub has, asked from the node. Only looks, so a plan knows it, too."""
    asked = hub.request(settings, source, tries=4, silence=20)
    label = f"list the files of {hub.repository(settings)}"
    result = node.read(hub.list_script(settings, asked), deadline=120.0, label=label)
    if result.timed_out:
        hint = "see from the node whether the hub answers (curl -I); name model.source.proxy, or another endpoint"
        raise ProvisionError(f"{hub.endpoint(source)} does not answer in time", node=node.name, hint=hint)
    try:
        return hub.parse_listing(result.stdout + ("" if result.stdout.endswith("\n") else "\n") + result.stderr)
    except ProvisionError as error:
        error.node = node.name
        raise


def _downloaded(order: Order) -> Steps:
    assert order.listing is not None
    index = order.settings.model.repository and order.settings.model.hub == "modelscope"
    asked: dict[str, Action] = {}
    jobs: dict[str, Action] = {}
    for node, files in order.files:
        path = _request_path(node.settings)
        paths = [file.path for file in files]
        text = hub.fetch_request(node.settings, order.source, order.listing, paths, index=index)
        label = f"what is to be downloaded, and the token for it: {counted(files)}"
        asked[node.name] = Put(
            label=label, path=path, content=text.encode(), mode=0o600, secret=True, affects=frozenset()
        )
        jobs[node.name] = Job(
            label=f"download {counted(files)} of {hub.repository(node.settings)} from "
            f"{urlsplit(hub.endpoint(order.source)).netloc}",
            name="weights-download",
            script=hub.fetch_script(node.settings, path, order.folder),
            deadline=order.source.timeout,
            progress=hub.progress,
            affects=CHANGED,
        )
    yield On(asked)
    try:
        done = yield On(jobs)
    except CommandFailed as error:
        told = hub.failure(error.result.stdout)
        if told is None:
            raise
        told.node = error.node
        raise told from None
    return _seconds(done)


def _request_path(settings: Settings) -> str:
    return f"{settings.state_dir}/{settings.cluster}/weights/request.json"


# ---- the controller


def _sent(order: Order) -> Steps:
    top = Path(order.source.path or "").expanduser()
    seconds: dict[str, float] = {}
    for file in sorted({file for _, files in order.files for file in files}):
        sends: dict[str, Action] = {
            node.name: Send(
                label=f"send {file.path}, {size_text(file.size)}",
                source=top / file.path,
                path=posixpath.join(order.folder, file.path),
                sha256=file.sha256,
                bandwidth=bandwidth(order.source.bandwidth),
                deadline=order.source.timeout,
                affects=CHANGED,
                before=sum(each.size for each in files if each < file),
                total=sum(each.size for each in files),
            )
            for node, files in order.files
            if file in files
        }
        for name, took in _seconds((yield On(sends))).items():
            seconds[name] = seconds.get(name, 0.0) + took
    yield On({node.name: _remember(order, node, files) for node, files in order.files})
    return seconds


def _remember(order: Order, node: Node, files: Sequence[File]) -> Run:
    return Run(
        label=f"remember the checksums of {counted(files)}",
        script=remember_script(order.folder, files, home(node.settings, node.settings.model.folder)),
        affects=CHANGED,
    )


# ---- another folder of a node


def _copied(order: Order) -> Steps:
    assert order.source.path is not None
    lists: dict[str, Action] = {}
    jobs: dict[str, Action] = {}
    for node, files in order.files:
        place = home(node.settings, node.settings.model.folder)
        lists[node.name] = listed(files, place)
        script = copy_script(order.source.path, order.folder, place) + hash_listed(order.folder, place)
        jobs[node.name] = Job(
            label=f"copy {counted(files)} from {order.source.path}",
            name="weights-copy",
            script=script,
            deadline=order.source.timeout,
            progress=Hashing(sum(file.size for file in files)),
            hint=f"see `df -h {quote(order.folder)}` on the node; then run again",
            affects=CHANGED,
        )
    yield On(lists)
    return _seconds((yield On(jobs)))


def listed(files: Sequence[File], place: str) -> Put:
    """Tell the scripts that read or copy which files."""
    content = list_text(files).encode()
    return Put(label=f"list {counted(files)}", path=list_path(place), content=content, affects=frozenset())


def _seconds(done: Mapping[str, ActionResult]) -> dict[str, float]:
    return {name: getattr(result, "seconds", 0.0) for name, result in done.items()}
