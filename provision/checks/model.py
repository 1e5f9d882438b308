"""The weights are on the node, whole.

Checked by names and sizes: config.json, a tokenizer, every shard that the index names, each as long as its own header
says [domain 12 #38]; and by the checksums that are known, against the manifest that is kept beside them. Contents are
compared between nodes by ``same_model``. Where ``model.source`` says where weights are from, what is missing is told,
and no more: it is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from provision.checks.base import Finding
from provision.checks.support import listed, look
from provision.facts.base import Fact
from provision.facts.model import UNNAMED, ModelFolder, ModelFolderValue
from provision.install.weights import judged, kept, verified_fact
from provision.inventory.model import Settings
from provision.node import Node
from provision.shell import quote

CODE = "N15"
LEVEL = "fail"
SCOPE = "node"

_UNSURE = "and no index"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return ModelFolder(settings.model.folder), verified_fact(settings)


def run(node: Node) -> Iterable[Finding]:
    source = node.settings.model.source
    for finding in (*_judged(node), *_damaged(node)):
        to_come = (
            f"nothing: they are fetched by model.source ({source.kind}), with `up`, `install` or `weights`"
            if source
            else ""
        )
        yield replace(finding, remedy=to_come, level="info") if source and finding.level == "fail" else finding


def _damaged(node: Node) -> Iterator[Finding]:
    """What is known to be another content than the manifest's, of files of the right size."""
    value = look(node, verified_fact(node.settings))
    manifest = kept(value)
    if manifest is None:
        return
    wrong = [reason for reason in judged(manifest, value).reasons if "SHA-256" in reason]
    if wrong:
        yield Finding(
            f"{value.path}: {listed(wrong)}",
            "`qnext-provision weights --repair` fetches what differs from other nodes",
            expected=f"the files of {manifest.source}, as the manifest beside them says",
            observed=f"{len(wrong)} of {len(manifest.files)} files differ",
        )


def _judged(node: Node) -> Iterator[Finding]:
    path = node.settings.model.folder
    value = look(node, ModelFolder(path))
    model, copy = node.settings.model, f"rsync -a --partial GOOD_NODE:{path}/ {path}/ (the same path on every node)"
    if not value.exists:
        correct = "qnext.model.path, .hub and .cache" if model.repository else "qnext.model.path"
        yield Finding(
            f"no folder {path}" + (f", where {_HUBS[model.hub]} keeps {model.path}" if model.repository else ""),
            f"bring the weights: {_download(node.settings) or copy}; or correct {correct}",
            expected=path,
            observed="missing",
        )
        return
    broken = list(_broken(value))
    if broken:
        yield Finding(
            f"{value.path}: {'; '.join(broken)}",
            f"download it again: {_download(node.settings)}" if model.repository else f"copy the model again: {copy}",
            expected="every file of the model, whole",
            observed="; ".join(broken),
        )
    for problem in value.problems:
        if _UNSURE in problem:
            yield Finding(f"{value.path}: {problem}", "copy model.safetensors.index.json too", level="warn")
        elif problem == UNNAMED and not broken:
            remedy = f"copy refs/ too, or download it again: {_download(node.settings)}"
            yield Finding(f"{path}: {problem}", remedy, level="warn")


_HUBS = {"huggingface": "Hugging Face's client", "modelscope": "ModelScope's client"}
_COMMANDS = {"huggingface": "hf download {}", "modelscope": "modelscope download --model {}"}


def _download(settings: Settings) -> str:
    """How a repository gets into its hub's cache, with the client in the servers' image; it goes on with what is there.
    Empty where the weights are a folder."""
    model = settings.model
    if not model.repository:
        return ""
    run = f"docker run --rm --net=host --entrypoint= -v {quote(f'{model.cache}:/root/.cache')} {settings.install.ref}"
    command = _COMMANDS[model.hub].format(model.path)
    return f"{run} bash -lic {quote(command)} on one node, then rsync -a --partial {model.folder}/ to the others"


def _broken(value: ModelFolderValue) -> Iterator[str]:
    total = len(value.shards) + len(value.missing)
    if value.missing:
        yield f"{len(value.missing)} of {total} shards are missing: {listed(value.missing)}"
    cut = [shard for shard in value.shards if not shard.whole]
    if cut:
        yield "cut short or damaged: " + listed(
            [f"{shard.name} ({shard.size} of {shard.expected or 'unknown'} bytes)" for shard in cut]
        )
    nothing_at_all = bool(value.missing) and not value.shards
    for problem in value.problems:
        if problem != UNNAMED and _UNSURE not in problem and not (nothing_at_all and problem.startswith("no weights")):
            yield problem
