"""How a container gets at Ascend devices: device nodes and mounts, computed from what the node has.

The recipe is that of vllm-ascend's installation guide for Atlas A2 and A3, with the traps taken out: sources are
checked, ``npu-smi`` is taken from where it is, device nodes are those found, and ``hccn_tool`` and ``hccn.conf`` come
along where they exist, for the network checks and the KV pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from provision.accel.protocol import ContainerRecipe, Mount, Problem, SourceKind

CONTROL_DEVICES = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")

_DRIVER = "/usr/local/Ascend/driver"
_REQUIRED = (
    Mount("/usr/local/dcmi", "/usr/local/dcmi", "dir"),
    Mount(f"{_DRIVER}/lib64", f"{_DRIVER}/lib64", "dir"),
    Mount(f"{_DRIVER}/version.info", f"{_DRIVER}/version.info", "file"),
    Mount("/etc/ascend_install.info", "/etc/ascend_install.info", "file"),
)
_NPU_SMI = (
    Mount("/usr/local/bin/npu-smi", "/usr/local/bin/npu-smi", "file", optional=True),
    Mount("/usr/local/sbin/npu-smi", "/usr/local/sbin/npu-smi", "file", optional=True),
)
_OPTIONAL = (
    Mount(f"{_DRIVER}/tools/hccn_tool", f"{_DRIVER}/tools/hccn_tool", "file", optional=True),
    Mount("/etc/hccn.conf", "/etc/hccn.conf", "file", optional=True),
)
_NAMES = {"file": "a file", "dir": "a folder", "other": "no file or folder", "missing": "missing"}


def mount_sources() -> tuple[str, ...]:
    """Every path of a node that the recipe wants to know of."""
    return tuple(mount.source for mount in (*_REQUIRED, *_NPU_SMI, *_OPTIONAL))


def recipe(
    devices: Sequence[int], sources: Mapping[str, SourceKind] | None = None, *, module_size: int = 1
) -> ContainerRecipe:
    """The recipe for these davinci numbers. ``sources`` says what stands at ``mount_sources()``; None leaves it to the
    launch script to look. Problems are named, never raised: the caller decides what they stop."""
    if sources is None:
        return ContainerRecipe(
            device_nodes(devices), _REQUIRED + _OPTIONAL, (_NPU_SMI,), tuple(_split_modules(devices, module_size))
        )
    problems = (*_split_modules(devices, module_size), *_source_problems(sources))
    mounts = [mount for mount in _REQUIRED if sources.get(mount.source) == mount.kind]
    mounts += [_certain(mount) for mount in (*_NPU_SMI, *_OPTIONAL) if sources.get(mount.source) == mount.kind]
    return ContainerRecipe(device_nodes(devices), tuple(mounts), (), problems)


def device_nodes(devices: Sequence[int]) -> tuple[str, ...]:
    """The device nodes a container needs for these davinci numbers; the control devices come with any."""
    return (*(f"/dev/davinci{number}" for number in sorted(devices)), *CONTROL_DEVICES)


def split_modules(devices: Sequence[int], module_size: int) -> tuple[int, ...]:
    """The devices whose module is only half in ``devices``. Dies 2k and 2k+1 form a module on A3
    [MindCluster scheduling affinity; vllm-ascend quick start]."""
    chosen = set(devices)
    return tuple(
        number
        for number in sorted(chosen)
        if any(
            mate not in chosen
            for mate in range(number - number % module_size, number - number % module_size + module_size)
        )
    )


def _split_modules(devices: Sequence[int], module_size: int) -> Iterator[Problem]:
    for number in split_modules(devices, module_size):
        mate = number ^ 1
        yield Problem(
            f"davinci{number} without davinci{mate}: half of an A3 module",
            f"take davinci{mate} into qnext.devices too, or leave both out",
        )


def _source_problems(sources: Mapping[str, SourceKind]) -> Iterator[Problem]:
    for mount in _REQUIRED:
        if sources.get(mount.source) != mount.kind:
            yield _wrong_source(mount, sources.get(mount.source, "missing"))
    if not any(sources.get(mount.source) == mount.kind for mount in _NPU_SMI):
        wrong = next((m for m in _NPU_SMI if sources.get(m.source, "missing") != "missing"), _NPU_SMI[0])
        yield _wrong_source(wrong, sources.get(wrong.source, "missing"))


def _wrong_source(mount: Mount, found: SourceKind) -> Problem:
    if found == "missing":
        return Problem(
            f"{mount.source} is missing", "install the Ascend driver (npu-smi, dcmi and version.info come with it)"
        )
    made_by_docker = found == "dir" and mount.kind == "file"
    return Problem(
        f"{mount.source} is {_NAMES[found]}, not {_NAMES[mount.kind]}",
        f"Docker made it for an earlier container: rmdir {mount.source}, then reinstall the driver if the file is gone"
        if made_by_docker
        else "reinstall the Ascend driver",
    )


def _certain(mount: Mount) -> Mount:
    return Mount(mount.source, mount.target, mount.kind, mount.read_only)
