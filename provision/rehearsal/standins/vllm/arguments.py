"""The command line of ``vllm serve``, read as strictly as argparse does it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NoReturn

_TRUE = "true"

_INTEGERS = [
    "port",
    "tensor-parallel-size",
    "pipeline-parallel-size",
    "data-parallel-size",
    "data-parallel-size-local",
    "data-parallel-start-rank",
    "data-parallel-rank",
    "data-parallel-rpc-port",
    "nnodes",
    "node-rank",
    "master-port",
    "max-num-seqs",
    "seed",
    "api-server-count",
    "block-size",
    "max-logprobs",
    "prefill-context-parallel-size",
    "decode-context-parallel-size",
    "max-num-partial-prefills",
    "max-parallel-loading-workers",
    "stream-interval",
    "max-log-len",
    "num-lookahead-slots",
    "long-prefill-token-threshold",
    "max-num-active-loras",
]
_SIZES = ["max-model-len", "max-num-batched-tokens", "max-seq-len-to-capture"]
_FLOATS = ["gpu-memory-utilization", "swap-space", "cpu-offload-gb"]
_JSON = [
    "additional-config",
    "speculative-config",
    "kv-transfer-config",
    "hf-overrides",
    "override-generation-config",
    "limit-mm-per-prompt",
    "model-loader-extra-config",
    "eplb-config",
    "rope-scaling",
    "mm-processor-kwargs",
    "default-chat-template-kwargs",
    "kv-events-config",
    "structured-outputs-config",
    "pooler-config",
    "profiler-config",
    "attention-config",
    "kernel-config",
    "reasoning-config",
    "ec-transfer-config",
    "media-io-kwargs",
]
_TEXTS = [
    "host",
    "model",
    "tokenizer",
    "data-parallel-address",
    "data-parallel-backend",
    "master-addr",
    "distributed-executor-backend",
    "dtype",
    "quantization",
    "load-format",
    "download-dir",
    "revision",
    "tokenizer-mode",
    "kv-cache-dtype",
    "compilation-config",
    "chat-template",
    "response-role",
    "tool-call-parser",
    "reasoning-parser",
    "uvicorn-log-level",
    "ssl-keyfile",
    "ssl-certfile",
    "generation-config",
    "hf-token",
    "mamba-cache-mode",
    "mamba-cache-dtype",
    "mamba-ssm-cache-dtype",
    "prefix-caching-hash-algo",
    "scheduling-policy",
    "served-model-name-prefix",
    "all2all-backend",
    "expert-placement-strategy",
    "root-path",
    "worker-cls",
    "worker-extension-cls",
    "config",
    "chat-template-content-format",
    "runner",
    "convert",
    "task",
    "model-impl",
    "logits-processors",
    "hf-config-path",
    "performance-mode",
    "optimization-level",
    "guided-decoding-backend",
]
_SWITCHES = [
    "enable-expert-parallel",
    "trust-remote-code",
    "headless",
    "enforce-eager",
    "async-scheduling",
    "enable-prefix-caching",
    "enable-chunked-prefill",
    "data-parallel-hybrid-lb",
    "data-parallel-external-lb",
    "enable-eplb",
    "disable-hybrid-kv-cache-manager",
    "enable-auto-tool-choice",
    "disable-log-requests",
    "enable-log-requests",
    "disable-log-stats",
    "skip-tokenizer-init",
    "enable-sleep-mode",
    "disable-uvicorn-access-log",
    "enable-request-id-headers",
    "enable-lora",
    "enable-prompt-embeds",
    "enable-server-load-tracking",
    "disable-frontend-multiprocessing",
    "enable-prompt-tokens-details",
    "disable-sliding-window",
    "disable-cascade-attn",
    "disable-custom-all-reduce",
    "calculate-kv-scales",
    "return-tokens-as-token-ids",
    "enable-dbo",
    "disable-mm-preprocessor-cache",
    "allow-credentials",
    "enable-force-include-usage",
    "enable-log-outputs",
    "language-model-only",
    "enable-return-routed-experts",
    "enable-flashinfer-autotune",
]
_LISTS = ["served-model-name", "api-key", "allowed-origins", "middleware", "lora-modules", "cudagraph-capture-sizes"]
_SHORT = {
    "-tp": "tensor-parallel-size", "-pp": "pipeline-parallel-size", "-dp": "data-parallel-size",
    "-dpl": "data-parallel-size-local", "-dpr": "data-parallel-start-rank", "-dpn": "data-parallel-rank",
    "-dpa": "data-parallel-address", "-dpp": "data-parallel-rpc-port", "-asc": "api-server-count",
    "-q": "quantization", "-O": "compilation-config", "-ep": "enable-expert-parallel", "-n": "nnodes", "-r": "node-rank",
}  # fmt: skip


class UsageError(Exception):
    """What argparse prints after ``vllm serve: error:``."""


class Arguments:
    """Values by dashed name. ``given`` keeps what was written, for the log."""

    __slots__ = ("given", "lists", "model")

    def __init__(self) -> None:
        self.model = ""
        self.given: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}

    def text(self, name: str, default: str = "") -> str:
        return self.given.get(name, default)

    def number(self, name: str, default: int) -> int:
        return _size(self.given[name]) if name in self.given else default

    def fraction(self, name: str, default: float) -> float:
        return float(self.given.get(name, default))

    def on(self, name: str, *, default: bool = False) -> bool:
        return self.given.get(name, _TRUE if default else "") == _TRUE

    def has(self, name: str) -> bool:
        return name in self.given

    def many(self, name: str) -> list[str]:
        return self.lists.get(name, [])


def parse(argv: list[str]) -> Arguments:
    """Read the words after ``vllm serve``. Raises ``UsageError``."""
    arguments, unknown, rest = Arguments(), [], list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if arguments.model:
                unknown.append(word)
            arguments.model = arguments.model or word
            continue
        name, value = _split(word)
        known = _known(name)
        if known is None:
            unknown.append(word)
            if not word.partition("=")[1]:
                unknown += _values(rest)
        else:
            _take(arguments, known, value, rest)
    if unknown:
        raise UsageError(f"unrecognized arguments: {' '.join(unknown)}")
    arguments.model = arguments.text("model", arguments.model)
    return arguments


def fail(message: str) -> NoReturn:
    """End as argparse ends."""
    sys.stderr.write(f"usage: vllm serve [model_tag] [options]\nvllm serve: error: {message}\n")
    sys.stderr.flush()
    raise SystemExit(2)


def _split(word: str) -> tuple[str, str | None]:
    """Dashed name without leading dashes, and the value after ``=``. ``--a.b v`` belongs to ``a``."""
    written, given, value = word.partition("=")
    if written in _SHORT:
        return _SHORT[written], value if given else None
    if written.startswith("-O") and len(written) > 2:
        return "compilation-config", written[2:]
    name = written.removeprefix("--").replace("_", "-")
    return name.partition(".")[0], value if given else None


def _known(name: str) -> str | None:
    """The flag's full name, ``no-`` kept; None for an unknown one. Unambiguous beginnings count, as in argparse."""
    everything = {*_INTEGERS, *_SIZES, *_FLOATS, *_JSON, *_TEXTS, *_SWITCHES, *_LISTS}
    everything |= {f"no-{switch}" for switch in _SWITCHES}
    if name in everything:
        return name
    found = [full for full in everything if full.startswith(name)] if len(name) > 2 else []
    return found[0] if len(found) == 1 else None


def _take(arguments: Arguments, name: str, value: str | None, rest: list[str]) -> None:
    if name.removeprefix("no-") in _SWITCHES and name not in _TEXTS:
        if value is not None:
            raise UsageError(f"argument --{name}: ignored explicit argument {value!r}")
        arguments.given[name.removeprefix("no-")] = "" if name.startswith("no-") else _TRUE
    elif name in _LISTS:
        words = [value] if value is not None else _values(rest)
        if not words:
            raise UsageError(f"argument --{name}: expected at least one argument")
        arguments.lists[name] = words
        arguments.given[name] = words[0]
    else:
        if value is None:
            if not rest or (rest[0].startswith("--") and not rest[0][2:3].isdigit()):
                raise UsageError(f"argument --{name}: expected one argument")
            value = rest.pop(0)
        _check(name, value)
        arguments.given[name] = value


def _values(rest: list[str]) -> list[str]:
    found = []
    while rest and not rest[0].startswith("-"):
        found.append(rest.pop(0))
    return found


def _check(name: str, value: str) -> None:
    kinds: list[tuple[list[str], Callable[[str], object], str]] = [
        (_INTEGERS, int, "invalid int value"),
        (_SIZES, _size, "invalid human_readable_int value"),
        (_FLOATS, float, "invalid float value"),
        (_JSON, json.loads, "invalid loads value"),
    ]
    for names, read, complaint in kinds:
        if name in names:
            try:
                read(value)
            except ValueError:
                raise UsageError(f"argument --{name}: {complaint}: {value!r}") from None


def _size(text: str) -> int:
    """``32768`` or ``32k``."""
    units = {"k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1:] in units else int(text)
