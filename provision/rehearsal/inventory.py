"""The inventory of a rehearsal: what an operator would write for these nodes."""

from __future__ import annotations

from pathlib import Path

from provision.rehearsal.addresses import free_port
from provision.rehearsal.layout import MODEL
from provision.rehearsal.node import Node
from provision.rehearsal.weights import EXPERTS

_HEAD = """# A rehearsal cluster: {count} {hardware} on loopback addresses. What works here works on real nodes.
all:
  vars:
    ansible_user: root
    ansible_port: {port}
    ansible_ssh_private_key_file: {folder}/keys/id_ed25519
    ansible_ssh_common_args: -o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes
    qnext:
      cluster: {cluster}
      hardware: {hardware}
      install:
        method: image
        image: {image}
{mirrors}      model:
        profile: qwen3-next-80b-a3b-instruct
        path: {model}
      serve:
{serve}  hosts:
"""

_SSH_HOST = """Host {name}
  HostName {address}
  Port {port}
  User root
  IdentityFile {folder}/keys/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking yes
"""


def write_inventory(folder: Path, nodes: list[Node], *, port: int, cluster: str) -> None:
    """Write ``cluster.yaml``, and an ``ssh_config`` for whoever wants to look around with ssh."""
    hardware = nodes[0].hardware
    text = _HEAD.format(
        count=len(nodes),
        hardware=hardware,
        port=port,
        folder=folder,
        cluster=cluster,
        model=MODEL,
        image=_image(hardware),
        mirrors="        mirrors: [quay.nju.edu.cn/ascend/vllm-ascend]\n" if hardware != "cpu" else "",
        serve=_serve(hardware, len(nodes), free_port(nodes[0].address)),
    )
    text += "".join(f"    {node.name}:\n      ansible_host: {node.address}\n" for node in nodes)
    (folder / "cluster.yaml").write_text(text)
    hosts = [_SSH_HOST.format(name=n.name, address=n.address, port=port, folder=folder) for n in nodes]
    (folder / "ssh_config").write_text("".join(hosts))


def _image(hardware: str) -> str:
    if hardware == "cpu":
        return "quay.io/rehearsal/vllm-cpu:v0.18.0"
    return "quay.io/ascend/vllm-ascend:v0.18.0" + ("-a3" if hardware == "atlas-800-a3" else "")


def _serve(hardware: str, nodes: int, port: int) -> str:
    """A layout that fills the nodes. Experts are spread only over a number of ranks that divides them."""
    parallel = 1 if hardware == "cpu" else 4
    per_node = {"atlas-800-a3": 4, "atlas-800-a2": 2}.get(hardware, 1)
    if nodes == 1:
        return f"        topology: single\n        tensor_parallel_size: {parallel}\n        port: {port}\n"
    size = per_node * nodes
    uneven = "" if EXPERTS % (size * parallel) == 0 else "        expert_parallel: false\n"
    return (
        f"        topology: data-parallel\n        tensor_parallel_size: {parallel}\n"
        f"        data_parallel_size: {size}\n{uneven}        port: {port}\n"
    )
