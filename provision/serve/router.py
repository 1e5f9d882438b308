"""The one entry point before several servers: which router, where, with which command line and files.

For servers that are alike: vllm-router, nginx, or the built-in one of ``templates/router/router.py``. For prefill and
decode: the proxy of vllm-ascend, or vllm-router in its mode for them. The command lines are those of vllm-router
0.1.17, nginx 1.x and vllm-ascend's examples/disaggregated_prefill_v1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from provision import shell
from provision.facts.router import SAID
from provision.inventory.model import Scalar, Settings
from provision.resources import shipped
from provision.serve import argv
from provision.serve.kv import LAYERWISE
from provision.serve.layout import ROUTED, Layout
from provision.serve.plan import Companion, Process, Violation
from provision.serve.profiles import Argument
from provision.serve.topologies.base import Attendant

WILDCARDS = ("0.0.0.0", "::", "")

EXAMPLES = "/vllm-workspace/vllm-ascend/examples/disaggregated_prefill_v1"
"""Where the images of vllm-ascend have their proxies."""

_PROXY = f"{EXAMPLES}/load_balance_proxy_server_example.py"
_LAYERWISE_PROXY = f"{EXAMPLES}/load_balance_proxy_layerwise_server_example.py"
READY = "/readiness"
"""200 while a server lives. (vllm-router's /health is 503 as soon as one of them is dead.)"""

_NGINX = ("nginx", "-c", "/qnext/nginx.conf", "-g", "daemon off;")
_FOR_TWO_SIDES = ("auto", "vllm-ascend", "vllm-router", "none")

_LOCATION: Mapping[str, str] = {
    "proxy_buffering": "off",
    "proxy_connect_timeout": "3s",
    "proxy_next_upstream": "error http_503 non_idempotent",
    "proxy_next_upstream_tries": "3",
    "proxy_read_timeout": "3600s",
    "proxy_send_timeout": "3600s",
}
"""nginx's directives for what is passed on; the same directive twice is an error there."""

_BUILT_IN_SAYS = "the built-in one"

_ROUTERS_CONNECTORS = {"MooncakeConnector": "mooncake", "MoRIIOConnector": "moriio"}
"""Connectors of vLLM that are handed on in another way than NIXL's, as vllm-router calls them."""

_WATCHFUL: Mapping[str, Argument] = {
    "worker-startup-check-interval": 1,
    "health-check-interval-secs": 5,
    "health-check-timeout-secs": 3,
    "health-failure-threshold": 2,
    "health-success-threshold": 1,
    "cb-failure-threshold": 3,
    "cb-timeout-duration-secs": 10,
}
"""By itself vllm-router looks at its servers once a minute, and believes the third failure. With these a dead one is
out of use after 10 s, and one that is back gets requests after 2 s, as was seen with 0.1.17."""


def violations(layout: Layout) -> Iterator[Violation]:
    """What the layout asks of its router and cannot have."""
    wanted = layout.head.serve.router
    two_sides = layout.topology == "prefill-decode"
    if wanted.node and wanted.node not in [site.node for site in layout.sites]:
        nodes = ", ".join(site.node for site in layout.sites)
        yield _refused("S02", f"serve.router.node {wanted.node} is no host of this cluster", f"name one of: {nodes}")
    if two_sides and wanted.kind not in _FOR_TWO_SIDES:
        remedy = "set serve.router.kind: vllm-ascend or vllm-router, or leave it out"
        yield _refused("S02", f"{wanted.kind} cannot hand requests from prefill to decode", remedy)
    if not two_sides and wanted.kind == "vllm-ascend":
        remedy = "set serve.router.kind: vllm-router, nginx or built-in, or leave it out"
        yield _refused("S02", "the proxy of vllm-ascend is for prefill-decode alone", remedy)
    if layout.head.install.method == "source":
        yield from _without_images(layout, two_sides=two_sides)
    if wanted.args and wanted.kind == "auto" and not two_sides:
        remedy = "set serve.router.kind to the router that they belong to"
        yield _refused("S08", "serve.router.args are given, but which router runs is only found on the node", remedy)


def _without_images(layout: Layout, *, two_sides: bool) -> Iterator[Violation]:
    wanted = layout.head.serve.router
    if wanted.image and layout.routed:
        yield _refused(
            "S02",
            "serve.router.image is an image, and install.method is source: the router is a process of its node",
            "leave serve.router.image out",
        )
    chosen = wanted.kind == "vllm-ascend" or (wanted.kind == "auto" and layout.accelerator.default_devices)
    if two_sides and chosen and layout.routed:
        yield _refused(
            "S02",
            "the proxy of vllm-ascend is in its images alone, and install.method is source",
            "set serve.router.kind: vllm-router, and name vllm-router in install.source.requirements",
        )


def _refused(code: str, reason: str, remedy: str) -> Violation:
    return Violation(code, "fail", reason, "the router before several servers", remedy)


def attendants(layout: Layout, servers: Sequence[Process]) -> Sequence[Attendant]:
    """The router before servers that are alike; none where the operator wants none."""
    if not layout.routed:
        return ()
    kind = layout.head.serve.router.kind
    addresses = [authority(server) for server in servers if server.serves]
    if kind == "vllm-router":
        return (_made(layout, _vllm_router(layout, addresses)),)
    if kind == "nginx":
        return (_made(layout, _NGINX, files=(_nginx_conf(layout, addresses),)),)
    if kind == "built-in":
        return (_made(layout, _built_in(layout, addresses), files=(_script(),)),)
    return (_made(layout, _whichever(layout, addresses), files=(_nginx_conf(layout, addresses), _script())),)


def proxies(layout: Layout, servers: Sequence[Process]) -> Sequence[Attendant]:
    """The proxy before prefill and decode: vllm-ascend's own where its images run, else vllm-router."""
    if not layout.routed:
        return ()
    prefill, decode = ([s for s in servers if s.serves and s.role == role] for role in ("prefill", "decode"))
    kind = layout.head.serve.router.kind
    if kind == "vllm-router" or (kind == "auto" and not layout.accelerator.default_devices):
        return (_made(layout, _two_sided_router(layout, prefill, decode)),)
    words = _ascend_proxy(layout, prefill, decode)
    # Its libraries would load the NPU's, which need a driver that this container doesn't have.
    env = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    if layout.head.serve.api_key:
        # It asks the servers with a key of its own, not with the client's.
        words = ("sh", "-c", 'export OPENAI_API_KEY="$VLLM_API_KEY"; exec "$@"', "proxy", *words)
    keyed = layout.head.serve.api_key is not None
    return (_made(layout, words, health="/healthcheck", env=env, keyed=keyed),)


def authority(server: Process) -> str:
    """``address:port`` of a server's API."""
    host = server.address or "127.0.0.1"
    return f"[{host}]:{server.api_port}" if ":" in host else f"{host}:{server.api_port}"


def chooses(settings: Settings) -> bool:
    """Whether it is only found in the container which router runs: ``facts.router`` then tells."""
    serve = settings.serve
    return serve.router.kind == "auto" and serve.topology in ROUTED - {"prefill-decode"}


def kind_of(router: Process, chosen: str = "") -> str:
    """What a router is, in words: by its command line, or what it said that it ``chose``; empty where neither tells."""
    words = {word.rpartition("/")[2] for word in router.argv}
    return next((kind for word, kind in _KINDS.items() if word in words), _KINDS.get(chosen, chosen))


_KINDS = {
    "vllm-router": "vllm-router",
    "nginx": "nginx",
    _PROXY.rpartition("/")[2]: "proxy of vllm-ascend",
    _LAYERWISE_PROXY.rpartition("/")[2]: "layerwise proxy of vllm-ascend",
    "router.py": "built-in",
    _BUILT_IN_SAYS: "built-in",
}


def place(layout: Layout) -> int:
    """The site that runs the router: the one named, else the first."""
    name = layout.head.serve.router.node
    return next((index for index, site in enumerate(layout.sites) if site.node == name), 0)


def _made(
    layout: Layout,
    words: tuple[str, ...],
    *,
    health: str = READY,
    env: Mapping[str, str] | None = None,
    files: tuple[Companion, ...] = (),
    keyed: bool = False,
) -> Attendant:
    """The attendant. An image of vLLM finds its programs by a login shell, as its servers do; another one may have no
    bash at all."""
    serve = layout.head.serve
    return Attendant(
        name="router",
        index=place(layout),
        kind="router",
        argv=words,
        ports={"api": serve.port},
        api_port=serve.port,
        health=health,
        image=serve.router.image or "",
        env=env or {},
        files=files,
        login=not serve.router.image,
        keyed=keyed,
    )


# ---- command lines


def _words(arguments: Mapping[str, Argument], given: Mapping[str, Argument]) -> tuple[str, ...]:
    """``arguments`` as words, the operator's over them."""
    normal = {argv.normal(name): value for name, value in given.items()}
    return tuple(word for name, value in {**arguments, **normal}.items() for word in argv.words(name, value))


def _listening(layout: Layout) -> dict[str, Argument]:
    return {"host": layout.head.serve.host or "0.0.0.0", "port": layout.head.serve.port}


def _given(layout: Layout) -> dict[str, Argument]:
    return {name: _argument(value) for name, value in layout.head.serve.router.args.items()}


def _argument(value: Scalar | list[Scalar] | None) -> Argument:
    return list(value) if isinstance(value, list) else value


def _vllm_router(layout: Layout, addresses: Sequence[str]) -> tuple[str, ...]:
    urls: list[object] = [f"http://{address}" for address in addresses]
    policy = layout.head.serve.router.policy or "round_robin"
    return (
        "vllm-router",
        *_words({**_listening(layout), "worker-urls": urls, "policy": policy, **_WATCHFUL}, _given(layout)),
    )


def _two_sided_router(layout: Layout, prefill: Sequence[Process], decode: Sequence[Process]) -> tuple[str, ...]:
    """Each server is a flag of its own. The connectors of vllm-ascend speak as NIXL's does, which is the router's
    default: prefill's answer says where decode finds the cache."""
    serve = layout.head.serve
    sides = [word for server in prefill for word in ("--prefill", f"http://{authority(server)}")]
    sides += [word for server in decode for word in ("--decode", f"http://{authority(server)}")]
    arguments = {**_listening(layout), "vllm-pd-disaggregation": True, "policy": serve.router.policy or "round_robin"}
    if serve.kv_transfer.connector in _ROUTERS_CONNECTORS:
        arguments["kv-connector"] = _ROUTERS_CONNECTORS[serve.kv_transfer.connector]
    return ("vllm-router", *_words({**arguments, **_WATCHFUL}, _given(layout)), *sides)


def _ascend_proxy(layout: Layout, prefill: Sequence[Process], decode: Sequence[Process]) -> tuple[str, ...]:
    serve = layout.head.serve
    layerwise = serve.kv_transfer.connector == LAYERWISE
    script = serve.router.script or (_LAYERWISE_PROXY if layerwise else _PROXY)
    arguments: dict[str, Argument] = _listening(layout)
    if arguments["host"] in WILDCARDS and (layerwise or serve.as_given):
        # Decode servers call the layerwise one back at this address; upstream's launcher gives it to both.
        arguments["host"] = layout.sites[place(layout)].address
    for side, servers in (("prefiller", prefill), ("decoder", decode)):
        arguments[f"{side}-hosts"] = [server.address for server in servers]
        arguments[f"{side}-ports"] = [server.api_port for server in servers]
    return ("python3", script, *_words(arguments, _given(layout)))


def _built_in(layout: Layout, addresses: Sequence[str]) -> tuple[str, ...]:
    urls: list[object] = [f"http://{address}" for address in addresses]
    arguments: dict[str, Argument] = {**_listening(layout), "worker-urls": urls}
    return ("python3", "/qnext/router.py", *_words(arguments, _given(layout)))


def _whichever(layout: Layout, addresses: Sequence[str]) -> tuple[str, ...]:
    """The best that the image has; it says which."""
    choices = {"vllm-router": _vllm_router(layout, addresses), "nginx": _NGINX}
    lines = [word for name, words in choices.items() for word in _where_there(name, words)]
    lines += [f"echo '{SAID} {_BUILT_IN_SAYS}'", f"exec {shell.join(_built_in(layout, addresses))}"]
    return ("sh", "-c", "\n".join(lines))


def _where_there(name: str, words: Sequence[str]) -> tuple[str, ...]:
    """Lines of sh that become the command where the image has it."""
    told = f"  echo '{SAID} {name}'"
    return (f"if command -v {name} >/dev/null 2>&1; then", told, f"  exec {shell.join(words)}", "fi")


# ---- files


def _nginx_conf(layout: Layout, addresses: Sequence[str]) -> Companion:
    """``serve.router.args`` are directives of its location."""
    from provision.template.environment import render_template

    host = layout.head.serve.host or "0.0.0.0"
    listen = f"[{host}]:{layout.head.serve.port}" if ":" in host else f"{host}:{layout.head.serve.port}"
    given = layout.head.serve.router.args if layout.head.serve.router.kind == "nginx" else {}
    directives = sorted({**_LOCATION, **{name: str(value) for name, value in given.items()}}.items())
    return Companion(
        "nginx.conf",
        render_template("router/nginx.conf.j2", servers=list(addresses), listen=listen, directives=directives),
    )


@cache
def _script() -> Companion:
    return Companion("router.py", (shipped("templates") / "router" / "router.py").read_text(encoding="utf-8"))
