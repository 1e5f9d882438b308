"""CANN of a version, as files: on a node that has it, and in every image."""

from __future__ import annotations

_RECORD = """package_name=Ascend-cann-toolkit
version={version}
innerversion={inner}
compatible_version=[V100R001C15],[V100R001C18],[V100R001C19],[V100R001C20],[V100R001C21],[V100R001C23],[V100R001C25]
arch={arch}
os=linux
path={path}
"""


def folder_of(version: str) -> str:
    """Where a version keeps itself below /usr/local/Ascend: in ``cann-X`` from 8.5 on, in ``ascend-toolkit`` before."""
    numbers = tuple(int(word) if word.isdigit() else 0 for word in version.split(".")[:2])
    return f"cann-{version}" if numbers >= (8, 5) else f"ascend-toolkit/{version}"


def files(version: str, arch: str) -> dict[str, str]:
    """Texts by their path below the root."""
    folder, base = folder_of(version), "usr/local/Ascend"
    inner = f"V100R001C{'25' if folder.startswith('cann') else '23'}SPC001B212"
    record = _RECORD.format(version=version, inner=inner, arch=arch, path=f"/{base}/{folder}/{arch}-linux")
    return {
        f"{base}/{folder}/{arch}-linux/ascend_toolkit_install.info": record,
        f"{base}/{folder}/set_env.sh": f"export ASCEND_TOOLKIT_HOME=/{base}/{folder}\n",
        f"{base}/ascend-toolkit/set_env.sh": f"export ASCEND_TOOLKIT_HOME=/{base}/ascend-toolkit/latest\n",
    }


def nnal_files(version: str) -> dict[str, str]:
    """NNAL, which is a package of its own with the version of CANN: texts by their path below the root."""
    base = "usr/local/Ascend/nnal/atb"
    return {
        f"{base}/set_env.sh": f"export ATB_HOME_PATH=/{base}/latest/atb/cxx_abi_0\n",
        f"{base}/{version}/version.info": f"    Ascend-cann-atb : {version}\n    Platform : aarch64\n",
        f"{base}/{version}/atb/cxx_abi_0/lib/libatb.so": "",
    }


def links(version: str) -> dict[str, str]:
    """Symbolic links by their path below the root."""
    folder, base = folder_of(version), "usr/local/Ascend"
    if not folder.startswith("cann"):
        return {f"{base}/ascend-toolkit/latest": version}
    return {f"{base}/ascend-toolkit/latest": f"../{folder}", f"{base}/cann": folder}
