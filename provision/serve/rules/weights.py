"""Weights that a server must find in its container: the model's and those of a draft (S08, S17)."""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, warn
from provision.serve.structured import structure

_CACHES = ("/modelscope/hub/", "/huggingface/hub/")


def path_in_a_cache(layout: Layout) -> Iterator[Violation]:
    """S08: a folder inside of a hub's cache is named by its repository [modelscope; vllm-ascend nightly configuration
    Qwen3-235B-W8A8-EPLB-mxfp0]."""
    path = layout.head.model.path
    if any(cache in path for cache in _CACHES):
        yield warn(
            "S08",
            f"model.path {path} lies in the cache of a hub, which lays its folders out as it likes",
            "modelscope and huggingface_hub keep their caches themselves",
            "set model.path to the repository's name, with model.hub and model.cache",
        )


def draft_weights(layout: Layout) -> Iterator[Violation]:
    """S17: a draft model's weights are in sight of the server: only those of model.path are mounted [docker run -v;
    vLLM speculative-config]."""
    draft = structure(layout, 0, "speculative-config").get("model")
    model = layout.head.model
    if not isinstance(draft, str) or not draft or draft == model.path:
        return
    shown = model.cache if model.repository else model.path.rstrip("/")
    if draft.startswith("/") and not (draft + "/").startswith(f"{shown}/"):
        yield warn(
            "S17",
            f"speculative-config: the draft model {draft} is not mounted, only {shown} is",
            "docker run -v: a server sees the weights of model.path alone",
            f"put the draft below {shown} on every node, with a path there",
        )
    elif not draft.startswith("/") and not model.repository:
        yield warn(
            "S17",
            f"speculative-config: the draft model {draft} would be downloaded by every server as it starts",
            "vLLM takes a name that is no folder for a repository",
            f"put it below {shown} on every node and name that folder, or give model.path as a repository too",
        )


RULES: tuple[Rule, ...] = (path_in_a_cache, draft_weights)
