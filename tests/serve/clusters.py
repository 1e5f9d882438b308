"""Small clusters for the tests: settings as an inventory would give them, and sites as the nodes would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provision.inventory.model import Settings
from provision.serve.plan import Site

QWEN3_NEXT = "qwen3-next-80b-a3b-instruct"
IMAGES = {
    "atlas-800-a2": "quay.io/ascend/vllm-ascend:v0.18.0",
    "atlas-800-a3": "quay.io/ascend/vllm-ascend:v0.18.0-a3",
    "cpu": "registry.example/vllm-cpu:1",
}
DEVICES = {"atlas-800-a2": tuple(range(8)), "atlas-800-a3": tuple(range(16)), "cpu": ()}


def settings(
    hardware: str = "atlas-800-a3",
    *,
    image: str = "",
    profile: str | None = None,
    path: str = "/data/weights/model",
    served_name: str | None = None,
    devices: tuple[int, ...] | None = None,
    data_address: str | None = None,
    compatibility: Mapping[str, object] | None = None,
    privileged: bool = False,
    **serve: object,
) -> Settings:
    """Settings of cluster ``qnext-test``; keywords beyond the named ones go under ``serve``."""
    return Settings.model_validate(
        {
            "cluster": "qnext-test",
            "hardware": hardware,
            "install": {"image": image or IMAGES[hardware], "privileged": privileged},
            "model": {"profile": profile, "path": path, "served_name": served_name},
            "serve": serve,
            "devices": devices,
            "data_address": data_address,
            "compatibility": compatibility or {},
        }
    )


def sites(hardware: str, count: int = 1, *, interface: str = "", devices: Sequence[int] | None = None) -> list[Site]:
    """``count`` nodes with addresses 10.0.0.1, 10.0.0.2, …"""
    found = DEVICES[hardware] if devices is None else tuple(devices)
    return [Site(f"node{i + 1}", i, f"10.0.0.{i + 1}", interface, found) for i in range(count)]


def pairs(given: Settings, count: int = 1, *, interface: str = "") -> list[tuple[Site, Settings]]:
    """The same settings on ``count`` nodes."""
    found = given.devices or DEVICES[given.hardware]
    return [(site, given) for site in sites(given.hardware, count, interface=interface, devices=found)]


def options(argv: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """A command line as option to values; the words before the first option under ''."""
    found: dict[str, tuple[str, ...]] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            assert name not in found, f"{name} is given twice"
            found[name] = (value,) if equals else ()
        else:
            found[name] = (*found.get(name, ()), word)
    return found
