"""Evidence that lies on disk: an archive of ours, a run directory, or archives, folders and files from anywhere.

Nothing is ever unpacked to disk, so no name in an archive can lead anywhere; what is read has limits, and what is left
out or broken is said in the manifest's entry of the file. Files from anywhere get their node and process from their
paths, and have no measured clocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from provision import clock
from provision.diagnose.diagnosis import Evidence, ProcessLog, Source
from provision.diagnose.loose import Loose, named, texts
from provision.diagnose.manifest import FileEntry, Manifest, NodeEntry, ProcessEntry
from provision.diagnose.unpacking import ARCHIVES, File, Limits, in_archive, in_file, is_text, plain
from provision.errors import UsageError

_LOGS: Mapping[str, Source] = {
    kind: kind for kind in ("stdout", "plog", "device", "driver", "kernel", "journal", "ray")
}
"""Kinds of files that are logs."""

LIMITS = Limits()
_NO_LOGS = "give an archive of `logs collect`, a run directory, or files and folders of logs; - reads stdin"


def open_evidence(paths: Sequence[Path]) -> Evidence:
    """What these hold: an archive or its unpacked folder, a run directory, or files of logs from anywhere.

    Raises ``UsageError`` with a hint where one can't be read, or where no log is among them.
    """
    for path in paths:
        _require(path)
    if len(paths) == 1 and (ours := _ours(paths[0])):
        return ours
    files = [file for path in paths for file in _of(path, alone=len(paths) == 1)]
    return _told(_from_anywhere(files), paths)


def from_stream(stream: BinaryIO, name: str = "stdin") -> Evidence:
    """What a pipe gives: ``docker logs x 2>&1 | qnext-provision diagnose -``."""
    return _told(_from_anywhere([in_file(stream, name, LIMITS)]), [Path(name)])


def _told(evidence: Evidence, paths: Sequence[Path]) -> Evidence:
    if any(log.text.strip() for log in evidence.logs):
        return evidence
    said = "; ".join(dict.fromkeys(f"{file.path}: {file.problem}" for file in evidence.manifest.files if file.problem))
    where = ", ".join(map(str, paths))
    raise UsageError(f"there is no log in {where}" + (f" ({said[:300]})" if said else ""), hint=_NO_LOGS)


def _require(path: Path) -> None:
    try:
        if path.is_dir():
            os.listdir(path)
        elif path.is_file():
            path.open("rb").close()
        else:
            raise UsageError(f"{path}: no such file or folder", hint=_NO_LOGS)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="it must be readable for you") from None


# ---- ours


def _ours(path: Path) -> Evidence | None:
    """The evidence of an archive of ours, of the folder that it was unpacked to, or of a run; None of anything else."""
    if path.is_dir():
        top = next((place for place in (path, *_only_folder(path)) if (place / "manifest.json").is_file()), None)
        if top:
            return _by_manifest(_walk(top), str(top))
        if (path / "run.json").is_file():
            return _of_run(path)
        return None
    if not path.name.endswith(ARCHIVES):
        return None
    files = list(in_archive(path, LIMITS, _in_ours))
    top_name = next((f.path.rpartition("/")[0] for f in files if _is_manifest(f.path)), None)
    return _by_manifest(_below(files, top_name), str(path)) if top_name else None


def _is_manifest(name: str) -> bool:
    return name.count("/") == 1 and name.endswith("/manifest.json")


def _in_ours(name: str) -> bool:
    """Whether a member is worth reading: what a run wrote and what was launched is not."""
    return _is_manifest(name) or not name.endswith((".json", ".jsonl", ".yaml", ".md", ".sh"))


def _only_folder(path: Path) -> list[Path]:
    within = sorted(path.iterdir())
    return [within[0]] if len(within) == 1 and within[0].is_dir() and not within[0].is_symlink() else []


def _below(files: Iterable[File], top: str) -> Iterator[File]:
    """Files below the one folder; the rest is passed over, and said."""
    for file in files:
        if file.path.startswith(f"{top}/"):
            yield replace(file, path=file.path[len(top) + 1 :])
        else:
            yield replace(file, content=b"", problem=file.problem or "it lies outside of the archive's folder")


def _by_manifest(files: Iterable[File], where: str) -> Evidence:
    by_path = {file.path: file for file in files}
    known = by_path.pop("manifest.json", None)
    if known is None:
        raise UsageError(f"{where}: its manifest.json can't be read", hint=_NO_LOGS)
    manifest = Manifest.from_json(known.content.decode("utf-8", "replace"))
    entries = {entry.path: entry for entry in manifest.files}
    logs = []
    for path, entry in entries.items():
        file = by_path.get(path)
        if entry.kind in _LOGS and file and file.content:
            logs.append(_manifest_log(manifest, entry, file))
            by_path[path] = replace(file, content=b"")  # its text is enough
    more = [_problem(file) for file in by_path.values() if file.problem and file.path not in entries]
    kept = [_with_problem(entry, by_path.get(entry.path)) for entry in manifest.files]
    return Evidence(replace(manifest, files=(*kept, *more)), tuple(logs))


def _manifest_log(manifest: Manifest, entry: FileEntry, file: File) -> ProcessLog:
    node = manifest.node(entry.node)
    own = manifest.process(entry.process, entry.node) if entry.process else None
    return ProcessLog(
        node=entry.node,
        process=entry.process,
        text=plain(file.content),
        exit_code=own.exit_code if own else None,
        rank=(own.rank if own else None) or 0,
        oom_killed=bool(own and own.oom_killed),
        container=own.container if own else "",
        source=_LOGS[entry.kind],
        offset=(node.offset if node else None) or 0.0,
        zone=(node.zone if node else None) or 0.0,
        path=entry.path,
        cut=entry.cut or file.cut,
    )


def _with_problem(entry: FileEntry, file: File | None) -> FileEntry:
    if file is None:
        lost = "the archive breaks off before it" if entry.kind in _LOGS and entry.bytes and not entry.problem else ""
        return replace(entry, problem=entry.problem or lost)
    return replace(entry, problem=entry.problem or file.problem)


def _problem(file: File) -> FileEntry:
    return FileEntry(file.path, "state", bytes=len(file.content), problem=file.problem)


def _of_run(path: Path) -> Evidence:
    """A run directory: its archive of evidence where it has one, else the logs that were kept."""
    archive = path / "evidence.tar.gz"
    if archive.is_file() and (found := _ours(archive)):
        return found
    logs = path / "logs"
    if not logs.is_dir():
        hint = f"a run keeps logs where a launch failed; what it did is in {path / 'events.jsonl'}"
        raise UsageError(f"the run {path.name} has kept no logs", hint=hint)
    return _told(_evidence([one for file in _latest(_walk(logs)) for one in _kept(file)], []), [logs])


def _kept(file: File) -> Iterator[Loose]:
    """A log as ``live`` keeps it: ``<node>/<process>.log``, ``<process>.plog-….log``, ``kernel.log``; modules keep
    other texts beside them."""
    node, _, name = file.path.rpartition("/")
    if name.startswith(_NO_PROCESS) or not node:
        return
    process, _, own = name.removesuffix(".log").partition(".")
    kind: Source = "plog" if own.startswith("plog-") else "device" if own.startswith("device-") else "stdout"
    if name == "kernel.log":
        process, kind = "", "kernel"
    yield Loose(file.path, node, process, kind, plain(file.content), file.cut)


_NO_PROCESS = ("npu-pings", "spread-")
"""What modules and checks keep in a node's folder that is no process's log."""


def _latest(files: Iterable[File]) -> list[File]:
    """Of a process that was started again (``head.log``, ``head.2.log``) the last log: the failure that remained."""
    newest: dict[str, tuple[int, File]] = {}
    for file in files:
        if not file.path.endswith(".log"):
            continue
        stem = file.path.removesuffix(".log")
        base, _, number = stem.rpartition(".")
        count = int(number) if base and number.isdigit() and len(number) < 4 else 1
        name = base if count > 1 else stem
        if count >= newest.get(name, (0, file))[0]:
            newest[name] = count, replace(file, path=f"{name}.log")
    return [file for _, file in newest.values()]


# ---- from anywhere


def _of(path: Path, *, alone: bool) -> Iterator[File]:
    """The files of one argument; beside others its own name tells from where they are."""
    if path.is_dir():
        prefix = "" if alone else f"{path.resolve().name}/"
        yield from (replace(file, path=prefix + file.path) for file in _walk(path))
    elif path.name.endswith(ARCHIVES):
        yield from in_archive(path, LIMITS)
    else:
        with path.open("rb") as file:
            yield replace(in_file(file, path.name, LIMITS), named=True)


def _walk(top: Path) -> Iterator[File]:
    """All files below a folder, without following links; limited like an archive."""
    left = LIMITS.kept
    for count, (folder, name) in enumerate(_names(top)):
        path = str(Path(folder, name).relative_to(top))
        if count >= LIMITS.files:
            yield File(path, problem=f"only the first {LIMITS.files} files were read")
            return
        try:
            with Path(folder, name).open("rb") as file:
                found = in_file(file, path, replace(LIMITS, file=LIMITS.share(left, name)))
        except OSError as error:
            found = File(path, problem=error.strerror or str(error))
        left = max(left - len(found.content), 0)
        yield found


def _names(top: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield folder, name


def _from_anywhere(files: Iterable[File]) -> Evidence:
    read = list(files)
    found = [one for file in read if file.content and is_text(file.content) for one in named(file)]
    problems = [_problem(file) for file in read if file.problem]
    problems += [
        FileEntry(file.path, "state", problem="it is no text, so it was passed over")
        for file in read
        if file.content and not is_text(file.content) and not file.problem
    ]
    return _evidence(texts(found), problems)


def _evidence(found: Sequence[Loose], problems: Sequence[FileEntry]) -> Evidence:
    """Of logs that come without a manifest."""
    logs = tuple(log for log in map(_loose_log, found) if log.text.strip())
    entries = (FileEntry(one.path, one.kind, one.node, one.process, len(one.text)) for one in found)
    return Evidence(_manifest(logs, (*entries, *problems)), logs)


def _loose_log(one: Loose) -> ProcessLog:
    return ProcessLog(one.node, one.process, one.text, source=one.kind, path=one.path, cut=one.cut)


def _manifest(logs: Sequence[ProcessLog], files: tuple[FileEntry, ...]) -> Manifest:
    nodes = list(dict.fromkeys(log.node for log in logs))
    processes = dict.fromkeys((log.process, log.node) for log in logs if log.process)
    return Manifest(
        taken=clock.now(),
        nodes=tuple(NodeEntry(name, index, f"worker-{index}") for index, name in enumerate(nodes)),
        processes=tuple(ProcessEntry(name, node) for name, node in processes),
        files=files,
    )


@dataclass(frozen=True, slots=True)
class Note:
    """Something about what was read that an operator must know."""

    path: str
    text: str


def notes(evidence: Evidence) -> list[Note]:
    """What is not there, or not whole."""
    return [Note(file.path, file.problem) for file in evidence.manifest.files if file.problem]
