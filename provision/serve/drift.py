"""How what runs differs from what is declared: by digest of the launch script, and by image id."""

from __future__ import annotations

from provision.facts.docker import Container, Containers, Image
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.launch import Launch
from provision.serve.render import TRIAL


def differences(cluster: Cluster) -> tuple[str, ...]:
    """Why the cluster does not run as declared; empty where it does. Compares every node."""
    return tuple(reason for reasons in by_process(cluster).values() for reason in reasons)


def by_process(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    """Why processes do not run as declared, by name; those that do are left out. Compares every node."""
    planned = launch.observed(cluster)
    reasons: dict[str, tuple[str, ...]] = {}
    for node in cluster.nodes:
        found = node.get(Containers(node.settings.cluster)).answered(node.name).containers
        containers = [container for container in found if not container.process.startswith(TRIAL)]
        there = {c.process for c in containers}
        missing = [s.process for s in planned.scripts_of(node.name) if s.process not in there]
        for name in missing:
            reasons[name] = (*reasons.get(name, ()), f"{name} on {node.name} is missing")
        for container in containers:
            own = [f"{container.process} on {node.name}: {r}" for r in of_container(node, container, planned)]
            if own:
                reasons[container.process] = (*reasons.get(container.process, ()), *own)
    return reasons


def of_container(node: Node, container: Container, planned: Launch) -> tuple[str, ...]:
    """How one container differs from its declaration."""
    script = next((s for s in planned.scripts_of(node.name) if s.process == container.process), None)
    if script is None:
        return ("not declared on this node",)
    reasons = []
    if not container.running:
        reasons.append(f"{container.state} with exit status {container.exit_code}")
    if container.digest != script.digest:
        reasons.append(f"launched as {container.digest or 'unknown'}, declared {script.digest}")
    if planned.secrets and container.process in node.get(launch.stale_secrets(node.settings)).processes:
        reasons.append("runs with another API key")
    image = node.get(Image(planned.plan.process(container.process).image or node.settings.install.ref))
    if image.id and container.image_id and container.image_id != image.id:
        reasons.append(f"runs image {container.image_id[:19]}, the node holds {image.id[:19]}")
    return tuple(reasons)
