"""Reads upstream's nightly configurations: both multi-node schemas, and the single-node test cases.

As its harness reads them [vllm-ascend tests/e2e/nightly]: values of the environment become strings as Python spells
them (``True``), ``$NAME`` in a command is filled from that environment alone, ``${NODE_0_IP}`` and the like are
addresses. Keys that nobody reads are ignored, as there, but told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from provision import yamlio
from provision.errors import ConfigError, Position
from provision.serve.importing.command import ServeCommand, parse_serve
from provision.serve.importing.recipe import DECODE, PREFILL, Notes, Pool, Ranks, Recipe, Server, counted
from provision.serve.importing.words import expand, lex
from provision.yamlio import Node, describe

SERVER_PORT = 8080
"""Upstream's default of ``SERVER_PORT``."""
PROXY_PORT = 1999
"""Where the proxy of an external layout listens."""
DEFAULT_PORT = "DEFAULT_PORT"
"""Stands in single-node cases for a port that the harness chooses."""
SINGLE_PORT = 8000

PORT, RANK = "${QNEXT_PORT}", "${QNEXT_RANK}"
"""What an inventory writes for what is computed for each server [serve.env]."""

_COMMON = {"test_name", "model", "num_nodes", "npu_per_node", "benchmarks", "cluster_hosts", "special_dependencies"}
_INTERNAL = _COMMON | {"deployment", "disaggregated_prefill"}
_EXTERNAL = _COMMON | {"routing", "config", "templates", "kv_pool"}
_CASE = {"name", "model", "envs", "server_cmd", "server_cmd_extra", "benchmarks", "special_dependencies"}
_INJECTED = {"LOCAL_IP", "NIC_NAME", "MASTER_IP", "LWS_WORKER_INDEX", "WORLD_SIZE"}


def read(text: str, file: str, notes: Notes, *, case: str | None = None) -> Recipe:
    """A configuration as a recipe. Raises ``ConfigError`` with file and line for what can't be one."""
    twice: list[ConfigError] = []
    root = yamlio.loads(text, file, forgiven=twice)
    for error in twice:
        notes.warn(f"{error.message}: the last counts, as upstream's reader has it", error.where)
    reader = _Reader(root, text, notes)
    if "test_cases" in root.data:
        return reader.single(case)
    if case is not None:
        raise ConfigError("--case is for files of single-node test_cases", where=root.position, hint="leave it out")
    if "deployment" in root.data:
        return reader.internal()
    if "templates" in root.data or "routing" in root.data:
        return reader.external()
    raise root.error(
        "this is none of vllm-ascend's nightly configurations: it has no deployment, templates or test_cases",
        hint="they lie in tests/e2e/nightly of vllm-ascend; for a command line there is import docker-run",
    )


class _Reader:
    """One file. ``notes`` collects what an operator should know."""

    def __init__(self, root: Node, text: str, notes: Notes) -> None:
        self._root = root
        self._lines = text.splitlines()
        self._notes = notes

    # ---- the schemas

    def internal(self) -> Recipe:
        nodes = self._list(self._root, "deployment")
        self._count_nodes(len(nodes), "deployment")
        roles = self._roles(len(nodes))
        servers = [self._internal_server(index, node, roles.get(index, "")) for index, node in enumerate(nodes)]
        self._unknown(self._root, _INTERNAL)
        return self._recipe(servers, disaggregated=bool(roles))

    def external(self) -> Recipe:
        config, templates = self._list(self._root, "config"), self._list(self._root, "templates")
        self._count_nodes(len(config), "config")
        if len(templates) != len(config):
            raise self._root.error(
                f"config has {len(config)} nodes, but templates {len(templates)}", ["templates"], hint="one each a node"
            )
        roles = self._routing(len(config))
        ranks = [self._ranks(index, node, len(config)) for index, node in enumerate(config)]
        servers = [
            self._external_server(index, node, ranks[index], roles[index]) for index, node in enumerate(templates)
        ]
        self._unknown(self._root, _EXTERNAL)
        return self._recipe(servers, disaggregated=True, entry_port=PROXY_PORT, pool=self._pool())

    def single(self, wanted: str | None) -> Recipe:
        cases = self._list(self._root, "test_cases")
        case = self._case(cases, wanted)
        model = str(self._need(case, "model").data)
        env = self._env(case.children.get("envs"))
        if env.get("SERVER_PORT") == DEFAULT_PORT:
            env["SERVER_PORT"] = str(SINGLE_PORT)
            self._notes.note(f"SERVER_PORT {DEFAULT_PORT} lets the harness choose a port; here it is {SINGLE_PORT}")
        words = [w for key in ("server_cmd", "server_cmd_extra") for w in self._words(case.children.get(key), env)]
        command = self._command(words, case.where(["server_cmd"], key=True), model)
        self._unknown(case, _CASE)
        self._dependencies(case)
        title = str(case.data.get("name") or model)
        server = Server(0, command, env, case.position)
        return Recipe(title, (server,), left=self._benchmarks(case))

    def _recipe(
        self, servers: list[Server], *, disaggregated: bool, entry_port: int | None = None, pool: Pool | None = None
    ) -> Recipe:
        self._dependencies(self._root)
        return Recipe(
            title=str(self._root.data.get("test_name") or "untitled_test"),
            servers=tuple(servers),
            disaggregated=disaggregated,
            npu_per_node=self._npus(),
            addresses=self._addresses(len(servers)),
            pool=pool,
            entry_port=entry_port,
            left=self._benchmarks(self._root),
        )

    # ---- internal

    def _internal_server(self, index: int, node: Node, role: str) -> Server:
        env = self._env(node.children.get("envs"))
        written = self._need(node, "server_cmd")
        words = list(self._words(written, env))
        start = next((at for at in range(len(words) - 1) if words[at : at + 2] == ["vllm", "serve"]), None)
        if start is None:
            raise written.error("no 'vllm serve' in this command", hint="server_cmd: vllm serve MODEL --option value …")
        if start:
            self._notes.warn(f"what stands before vllm serve is left out: {' '.join(words[:start])}", written.position)
        command = self._command(words[start + 2 :], written.position, str(self._root.data.get("model") or ""))
        return Server(index, command, env, node.position, role)

    def _roles(self, count: int) -> dict[int, str]:
        given = self._root.children.get("disaggregated_prefill")
        if given is None or not isinstance(given.data, dict) or not given.data.get("enabled", False):
            return {}
        prefill = self._indexes(given, "prefiller_host_index", count)
        decode = self._indexes(given, "decoder_host_index", count)
        return self._divided(given, prefill, decode, count)

    def _divided(self, given: Node, prefill: list[int], decode: list[int], count: int) -> dict[int, str]:
        both = sorted({*prefill} & {*decode})
        if both:
            raise given.error(f"node {both[0]} is both prefiller and decoder", hint="each node has one role")
        left = sorted({*range(count)} - {*prefill, *decode})
        if left:
            raise given.error(f"node {left[0]} is neither prefiller nor decoder", hint="name it in one of the lists")
        if not prefill or not decode:
            raise given.error("both sides need at least one node", hint="name nodes in both lists")
        return dict.fromkeys(prefill, PREFILL) | dict.fromkeys(decode, DECODE)

    def _indexes(self, parent: Node, key: str, count: int) -> list[int]:
        found: list[int] = []
        for node in self._list(parent, key):
            if type(node.data) is not int or not 0 <= node.data < count:
                raise node.error(f"{key}: {describe(node.data)} is no node: there are 0 to {count - 1}")
            if node.data in found:
                raise node.error(f"{key}: node {node.data} is named twice")
            found.append(node.data)
        return found

    # ---- external

    def _routing(self, count: int) -> dict[int, str]:
        routing = self._need(self._root, "routing")
        if not isinstance(routing.data, dict) or routing.data.get("type") != "disaggregated_prefill":
            raise routing.error("routing.type must be disaggregated_prefill", ["type"], hint="upstream has no other")
        groups = self._need(routing, "groups")
        prefill, decode = (self._indexes(groups, name, count) for name in ("prefiller", "decoder"))
        return self._divided(groups, prefill, decode, count)

    def _ranks(self, index: int, node: Node, count: int) -> Ranks:
        self._position(index, node)
        sizes = {name: self._size(node, name) for name in ("tp_size", "cp_size", "sp_size", "pp_size")}
        if sizes["cp_size"] * sizes["sp_size"] > 1:
            raise node.error(
                f"node {index}: cp_size and sp_size over 1 cannot be imported",
                hint="set prefill-context-parallel-size in serve.engine_args by hand",
            )
        size, local, start = (
            self._int(node, "dp_size"),
            self._int(node, "dp_size_local"),
            self._int(node, "dp_rank_start"),
        )
        if start + local > size:
            raise node.error(f"node {index}: ranks {start} to {start + local - 1} of a dp_size of {size}")
        npus = self._npus()
        taken = local * sizes["tp_size"] * sizes["pp_size"]
        if npus and taken > npus:
            raise node.error(
                f"node {index}: {local} ranks of {taken // local} devices are {taken}, but npu_per_node is {npus}",
                ["dp_size_local"],
                hint="lower dp_size_local or tp_size",
            )
        return Ranks(
            port=self._int(node, "port_start"),
            size=size,
            local=local,
            start=start,
            rpc_port=self._int(node, "dp_rpc_port"),
            tensor_parallel=sizes["tp_size"],
            pipeline_parallel=sizes["pp_size"],
            head=self._head(index, node, start, count),
        )

    def _head(self, index: int, node: Node, start: int, count: int) -> int:
        head = self._named_head(index, node)
        if head >= count or (start == 0 and head != index):
            raise node.error(
                f"node {index}: dp_address is that of node {head}",
                ["dp_address"],
                hint=f"rank 0 meets the others at its own address: ${{NODE_{index}_IP}}" if start == 0 else "",
            )
        return head

    def _named_head(self, index: int, node: Node) -> int:
        written = self._need(node, "dp_address")
        text = str(written.data)
        found = re.fullmatch(r"\$\{NODE_(\d+)_IP\}", text)
        hosts = self._addresses_as_given()
        if found:
            return int(found[1])
        if text in ("${LOCAL_IP}", "$LOCAL_IP"):
            return index
        if text in ("${MASTER_IP}", "$MASTER_IP"):
            return 0
        if text in hosts:
            return hosts.index(text)
        raise written.error(f"dp_address {text} is no node", hint="write ${NODE_0_IP}, or an address of cluster_hosts")

    def _external_server(self, index: int, node: Node, ranks: Ranks, role: str) -> Server:
        self._position(index, node)
        braced = {
            "PORT": PORT,
            "DP_RANK": RANK,
            "DP_SIZE": str(ranks.size),
            "DP_SIZE_LOCAL": str(ranks.local),
            "DP_ADDRESS": f"${{NODE_{ranks.head}_IP}}",
            "DP_RPC_PORT": str(ranks.rpc_port),
            "TP_SIZE": str(ranks.tensor_parallel),
            "LWS_WORKER_INDEX": str(index),
        }
        env = {name: expand(text, braced.get) for name, text in self._env(node.children.get("envs")).items()}
        template = self._need(node, "server_cmd_template")
        words = [expand(expand(word, braced.get), env.get) for word in self._words(template, {})]
        model = str(self._need(self._root, "model").data)
        command = self._command(words, template.position, model)
        self._computed_ports(index, command, template, ranks)
        return Server(index, command, env, node.position, role, ranks)

    def _computed_ports(self, index: int, command: ServeCommand, template: Node, ranks: Ranks) -> None:
        for name, wanted in (("port", PORT), ("data-parallel-rank", RANK)):
            given = command.text(name)
            if given is not None and given != wanted and ranks.local > 1:
                raise template.error(
                    f"node {index}: --{name} {given} is the same for all {ranks.local} ranks",
                    hint=f"write ${{{'PORT' if name == 'port' else 'DP_RANK'}}}",
                )

    def _position(self, index: int, node: Node) -> None:
        given = node.data.get("node_index", index) if isinstance(node.data, dict) else None
        if given != index:
            raise node.error(f"node_index {given}: this is entry {index}", hint="entries are in the order of the nodes")

    def _pool(self) -> Pool | None:
        node = self._root.children.get("kv_pool")
        if node is None or not node.data:
            return None
        kind = self._need(node, "type").data
        if kind not in ("mooncake", "memcache"):
            raise node.error(f"kv_pool.type {kind}: known are mooncake and memcache", ["type"])
        config = node.data.get("config")
        return Pool(
            kind,
            self._int(node, "master_port") if "master_port" in node.data else None,
            self._int(node, "metrics_port") if "metrics_port" in node.data else None,
            config if isinstance(config, dict) else {},
        )

    # ---- single node

    def _case(self, cases: Sequence[Node], wanted: str | None) -> Node:
        names = [str(case.data.get("name")) if isinstance(case.data, dict) else "" for case in cases]
        if wanted is not None:
            if wanted not in names:
                raise self._root.error(f"no case {wanted!r}", ["test_cases"], hint=f"the cases: {', '.join(names)}")
            return cases[names.index(wanted)]
        if len(cases) > 1:
            raise self._root.error(
                f"this file holds {len(cases)} cases", ["test_cases"], hint=f"choose with --case: {', '.join(names)}"
            )
        return cases[0]

    # ---- parts of all schemas

    def _need(self, node: Node, key: str) -> Node:
        if not isinstance(node.data, dict):
            raise node.error(f"a mapping with {key} is needed here, not {describe(node.data)}")
        found = node.children.get(key)
        if found is None or found.data is None:
            raise node.error(f"{key} is missing", hint="upstream's schema wants it")
        return found

    def _list(self, node: Node, key: str) -> list[Node]:
        found = self._need(node, key)
        if not isinstance(found.data, list) or not found.data:
            raise found.error(f"{key} must be a list that isn't empty, not {describe(found.data)}")
        return list(found.children.values())

    def _int(self, node: Node, key: str) -> int:
        found = self._need(node, key)
        text = str(found.data)
        if isinstance(found.data, bool) or not re.fullmatch(r"[0-9]{1,9}", text):
            raise found.error(f"{key}: {describe(found.data)}; a whole number is needed")
        return int(text)

    def _size(self, node: Node, key: str) -> int:
        given = self._int(node, key) if isinstance(node.data, dict) and key in node.data else 1
        if given < 1:
            raise node.error(f"{key} {given}: at least 1 is needed", [key])
        return given

    def _count_nodes(self, count: int, key: str) -> None:
        if "num_nodes" in self._root.data and self._int(self._root, "num_nodes") != count:
            raise self._root.error(
                f"num_nodes is {self._root.data['num_nodes']}, but {key} has {count}",
                ["num_nodes"],
                hint="they must be the same",
            )

    def _npus(self) -> int | None:
        return self._int(self._root, "npu_per_node") if self._root.data.get("npu_per_node") is not None else None

    def _addresses_as_given(self) -> tuple[str, ...]:
        given = self._root.data.get("cluster_hosts")
        return tuple(str(each) for each in given) if isinstance(given, list) else ()

    def _addresses(self, count: int) -> tuple[str, ...]:
        given = self._addresses_as_given()
        if given and len(given) != count:
            what = f"cluster_hosts names {counted(len(given), 'host')} for {counted(count, 'node')}"
            raise self._root.error(what, ["cluster_hosts"], hint="one each a node")
        return given

    def _env(self, node: Node | None) -> dict[str, str]:
        """The environment as the harness makes it: strings, as Python spells what YAML 1.1 reads."""
        if node is None or node.data is None:
            return {}
        if not isinstance(node.data, dict):
            raise node.error(f"envs must be a mapping, not {describe(node.data)}")
        env: dict[str, str] = {}
        for name, value in node.children.items():
            if not re.fullmatch(r"[A-Za-z_]\w*", str(name), re.ASCII):
                where = node.where([name], key=True)
                self._notes.warn(f"{name} is left out: no shell can set a variable of that name", where)
                continue
            if isinstance(value.data, dict | list):
                raise value.error(f"{name}: a variable is a text, not {describe(value.data)}")
            if value.data is None:
                self._notes.warn(
                    f"{name} has no value; upstream would set it to the text None: left out", value.position
                )
                continue
            if str(name) not in _INJECTED:
                env[str(name)] = str(_as_python(value))
        return env

    def _words(self, node: Node | None, env: Mapping[str, str]) -> Iterator[str]:
        """The words of a command, given as a list or as a text, with the variables of ``env`` filled."""
        if node is None or node.data is None:
            return
        if isinstance(node.data, list):
            for item in node.children.values():
                if isinstance(item.data, dict | list):
                    raise item.error(f"an argument must be a word, not {describe(item.data)}")
                yield expand("" if item.data is None else str(_as_python(item)), env.get)
            return
        if isinstance(node.data, dict):
            raise node.error("a command must be a text or a list of words, not a mapping")
        text, line = self._command_text(node)
        if re.search(r"(?m)(^|\s)#", text):
            self._notes.warn("comments in the command are left out", node.position)
        for token in lex(text, first_line=line):
            if token.kind == "operator":
                where = Position(node.position.file, token.line, 1)
                raise ConfigError(f"{token.text!r} in a command", where=where, hint="only one vllm serve is read here")
            if token.kind == "word":
                yield re.sub(r"\s*\n\s*", " ", expand(token.text, env.get))

    def _command_text(self, node: Node) -> tuple[str, int]:
        """A block scalar as its lines stand in the file: folding would hide comments and continued lines."""
        line = node.position.line
        header = self._lines[line - 1][node.position.column - 1 :] if line <= len(self._lines) else ""
        if not re.match(r"(&\S+\s+)?[>|][-+0-9]*\s*(#.*)?$", header):
            return str(node.data), line
        block: list[str] = []
        depth: int | None = None
        for raw in self._lines[line:]:
            indent = len(raw) - len(raw.lstrip(" "))
            if raw.strip():
                depth = indent if depth is None else depth
                if indent < depth:
                    break
            block.append(raw)
        return "\n".join(block), line + 1

    def _command(self, words: Sequence[str], where: Position, model: str) -> ServeCommand:
        command = parse_serve(words, where, model=model)
        if not command.model:
            raise ConfigError("no model is named", where=where, hint="model: at the top of the file, or in the command")
        return command

    def _dependencies(self, node: Node) -> None:
        given = node.children.get("special_dependencies")
        if given is None or not isinstance(given.data, dict):
            return
        wanted = ", ".join(f"{name}=={version}" for name, version in given.data.items())
        self._notes.warn(
            f"special_dependencies ({wanted}) are not installed: choose an image that has them", given.position
        )

    def _unknown(self, node: Node, known: set[str]) -> None:
        extra = [str(k) for k in node.data if str(k) not in known and not str(k).startswith(("_", "env_"))]
        if extra:
            self._notes.note(f"keys that upstream's launcher ignores too: {', '.join(extra)}", node.position)

    def _benchmarks(self, node: Node) -> tuple[str, ...]:
        given = node.data.get("benchmarks")
        if not given:
            return ()
        text = yaml.safe_dump(given, sort_keys=False, width=110, allow_unicode=True)
        return ("benchmarks of the recipe, for later:", *(f"  {line}" for line in text.splitlines()))


def _as_python(node: Node) -> Any:
    """A scalar as the harness reads it: by YAML 1.1, where that differs."""
    if not node.ambiguous or node.text is None:
        return node.data
    try:
        return yaml.safe_load(node.text)
    except yaml.YAMLError:
        return node.data
