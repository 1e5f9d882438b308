"""The published models of ``models.yaml``, as configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from provision import yamlio
from provision.facts.model import ModelConfig, parse_config

MODELS: list[dict[str, Any]] = yamlio.parse(yamlio.read_text(Path(__file__).with_name("models.yaml"))).data


def config_of(model: dict[str, Any]) -> ModelConfig:
    """What its config.json says, read as the fact reads it."""
    config = parse_config(json.dumps(model["config"]))
    assert config is not None
    return config


def named(name: str) -> ModelConfig:
    """The configuration of the model whose name begins so."""
    return config_of(next(model for model in MODELS if model["name"].startswith(name)))
