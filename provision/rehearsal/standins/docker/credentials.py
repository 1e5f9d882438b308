"""Logins at registries: what ``docker login`` keeps in config.json, and what travels to the daemon in a header."""

from __future__ import annotations

import base64
import json
import os

from provision.rehearsal.node import Node
from provision.rehearsal.standins.docker.store import Json, read_json, write_json

_HUB = "https://index.docker.io/v1/"


def remember(node: Node, host: str, user: str, password: str) -> None:
    """Write a login where docker's client does: base64, not encrypted."""
    path = _path(node)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    config = read_json(path)
    kept = config.get("auths")
    auths: Json = dict(kept) if isinstance(kept, dict) else {}
    auths[host or _HUB] = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
    write_json(path, {**config, "auths": auths})


def of(node: Node, host: str) -> str:
    """``user:password`` that the client keeps for a registry; empty where it keeps none."""
    auths = read_json(_path(node)).get("auths")
    entry = auths.get(_HUB if host == "registry-1.docker.io" else host) if isinstance(auths, dict) else None
    try:
        return base64.b64decode(str(entry.get("auth", ""))).decode() if isinstance(entry, dict) else ""
    except ValueError:
        return ""


def from_header(text: str) -> str:
    """``user:password`` from X-Registry-Auth; empty where there is none."""
    try:
        value = json.loads(base64.urlsafe_b64decode(text)) if text else {}
    except ValueError:
        return ""
    return f"{value['username']}:{value['password']}" if {"username", "password"} <= set(value) else ""


def _path(node: Node) -> str:
    return os.path.join(node.root, "root/.docker/config.json")
