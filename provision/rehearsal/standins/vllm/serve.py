"""``vllm serve`` from the first log line to the last."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import NoReturn

from provision.clock import monotonic, sleep
from provision.rehearsal.node import Node
from provision.rehearsal.standins import npu
from provision.rehearsal.standins.net import bound_to_all
from provision.rehearsal.standins.vllm import arguments as command_line
from provision.rehearsal.standins.vllm import group, log, rules
from provision.rehearsal.standins.vllm.api import VERSION, Api, Settings
from provision.rehearsal.standins.vllm.ending import Ending
from provision.rehearsal.standins.vllm.engines import Engines, Partners
from provision.rehearsal.standins.vllm.failure import StartFailed, report
from provision.rehearsal.standins.vllm.site import Model, Site
from provision.rehearsal.standins.vllm.transfer import Transfer, transfer_of

_START_SECONDS = 0.6
_API = "APIServer"


def serve(node: Node, argv: list[str]) -> int:
    """Start, serve until told to stop, and return the exit status."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        given = command_line.parse(argv)
        _mislead(node, given)
        _greet(node, given)
        return _Server(node, given).run()
    except command_line.UsageError as error:
        command_line.fail(str(error))
    except StartFailed as failure:
        report(failure)
        return failure.exit


class _Server:
    """One server process."""

    def __init__(self, node: Node, given: command_line.Arguments) -> None:
        self._node = node
        self._given = given
        self._site = Site(node, given)
        self._transfer: Transfer | None = None
        self._began = monotonic()
        self._ending = Ending(self._site, self._began)

    def run(self) -> int:
        """The story of a server."""
        rules.check_arguments(self._given)
        bound = None if self._site.headless else self._bind()
        model = self._site.model()
        rules.check_model(self._site, model)
        self._transfer = transfer_of(self._site)
        dies = self._site.take_devices()
        self._site.check_addresses()
        if self._site.headless:
            return self._run_headless(model, dies)
        partners = self._meet(model)
        self._load(model, dies)
        if partners is not None:
            self._await(partners)
        assert bound is not None
        return self._serve_api(bound, model, partners)

    def _bind(self) -> socket.socket:
        """Take the API port at once, listen on it only when all is loaded."""
        host, port = self._given.text("host"), self._given.number("port", 8000)
        address = self._site.own(host)
        if address is None:
            raise StartFailed("OSError: [Errno 99] Cannot assign requested address", in_engine=False)
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((address, port))
        except OSError as error:
            raise StartFailed(f"OSError: [Errno {error.errno}] {error.strerror}", in_engine=False) from None
        if host in ("", "0.0.0.0", "::"):
            bound_to_all(self._node, port)
        return bound

    def _meet(self, model: Model) -> Partners | None:
        """Wait for the other processes of the deployment, where there are any."""
        site = self._site
        if site.on_ray:
            from provision.rehearsal.standins.vllm.ray import executor

            return executor(site, self._patience)
        if site.nnodes > 1:
            address = self._given.text("master-addr", "127.0.0.1")
            expected = group.Rules("ranks", site.nnodes, (0,), rules.config_hash(site, model))
            head = group.Head(expected, site.own(address), self._given.number("master-port", 29501))
        elif len(site.engines) >= site.dp:
            return None
        elif site.start_rank > 0:
            return group.Member(self._join(model))
        else:
            expected = group.Rules("engines", site.dp, tuple(site.engines), rules.config_hash(site, model),
                                   headless=site.balancing == "internal")  # fmt: skip
            address = self._given.text("data-parallel-address", "127.0.0.1")
            head = group.Head(expected, site.own(address), self._given.number("data-parallel-rpc-port", 29550))
            log.info(_API, "utils.py:712", f"Started DP Coordinator process (PID: {os.getpid()})")
        head.gather()
        head.patience, head.complaint = self._ending.patience, self._ending.timed_out
        return head

    def _await(self, partners: Partners) -> None:
        """Wait until the others have loaded too; by a fault their loss is made much of."""
        try:
            partners.await_ready()
        except StartFailed:
            if partners.lost:
                self._ending.mourn()
            raise

    @property
    def _patience(self) -> float:
        """Seconds that stand for the minutes after which who waits for another gives up."""
        return self._node.state.number("vllm/handshake_seconds", group.HANDSHAKE_SECONDS)

    def _run_headless(self, model: Model, dies: list[int]) -> int:
        peer = self._join(model)
        self._load(model, dies)
        peer.send({"did": "load"})
        if not group.work(peer, lambda rank: None, patience=self._ending.patience):
            there = {*peer.loaded, *self._site.engines}
            raise self._ending.timed_out([rank for rank in range(self._site.dp) if rank not in there])
        self._ending.mourn()
        threading.Event().wait()
        return 0

    def _join(self, model: Model) -> group.Peer:
        site = self._site
        own = rules.config_hash(site, model)
        if site.nnodes > 1:
            rank = self._given.number("node-rank", 0)
            hello = group.Hello("ranks", (rank,), site.nnodes, own, True)
            address, port = self._given.text("master-addr", "127.0.0.1"), self._given.number("master-port", 29501)
        else:
            hello = group.Hello("engines", tuple(site.engines), site.dp, own, site.headless)
            address = self._given.text("data-parallel-address", "127.0.0.1")
            port = self._given.number("data-parallel-rpc-port", 29550)
            if site.headless:
                log.info("", "serve.py:178", f"Launching {len(site.engines)} data parallel engine(s) in headless mode, with head node "
                                             f"address tcp://{address}:{port}.")  # fmt: skip
        return group.join(hello, site.local(address), port, self._patience)

    def _load(self, model: Model, dies: list[int]) -> None:
        """Weights, profile, graphs: the lines that an operator watches for minutes."""
        site, seconds = self._site, self._node.state.number("vllm/start_seconds", _START_SECONDS)
        who = f"EngineCore_DP{site.engines[0]}" if site.dp > 1 else "EngineCore"
        log.info(
            who, "core.py:77", f"Initializing a V1 LLM engine (v{VERSION}) with config: model='{self._given.model}'"
        )
        site.check_memory(model)
        site.hold(dies)
        if text := self._node.state.get("log/error"):
            log.error(who, "model_runner_v1.py:1822", text if text != "1" else log.LINK_ERROR)
        worker = "Worker_TP0" if site.tp > 1 else who
        log.info(worker, "model_runner_v1.py:2640", "Starting to load model...")
        site.check_weights(model)
        if self._transfer is not None:
            self._transfer.listen()
        total = len(model.shards)
        for done in range(0, total + 1, max(1, total // 8)):
            self._die_if_told()
            log.progress(f"({worker}) Loading safetensors checkpoint shards: {done * 100 // total:3d}% Completed | {done}/{total} "
                         f"[00:{int(done * seconds / total):02d}<00:00, 1.2it/s]")  # fmt: skip
            sleep(seconds * 0.7 / 9)
        spent = monotonic() - self._began
        log.info(worker, "default_loader.py:308", f"Loading weights took {spent:.2f} seconds")
        log.info(
            worker,
            "model_runner_v1.py:2678",
            f"Model loading took {model.size / site.tp / 2**30:.4f} GB memory and {spent:.6f} seconds",
        )
        self._profile(worker, who, seconds)

    def _profile(self, worker: str, who: str, seconds: float) -> None:
        length = self._given.number("max-model-len", 262144)
        room = self._given.fraction("gpu-memory-utilization", 0.9) * npu.HBM - 42000
        log.info(worker, "worker.py:274", f"Available KV cache memory: {max(room, 1) / 1024:.2f} GiB")
        count = int(max(room, 1) * 1024 // 12 // 128 * 128)
        log.info(who, "kv_cache_utils.py:1297", f"GPU KV cache size: {count:,} tokens")
        log.info(
            who,
            "kv_cache_utils.py:1302",
            f"Maximum concurrency for {length:,} tokens per request: {count / length:.2f}x",
        )
        if self._node.is_npu and not self._given.on("enforce-eager"):
            for percent in (0, 50, 100):
                self._die_if_told()
                log.progress(f"({worker}) Capturing ACL graphs (decode, FULL): {percent:3d}%")
                sleep(seconds * 0.3 / 3)
            log.info(worker, "model_runner_v1.py:3612", "Graph capturing finished in 1 secs, took 0.42 GiB")
        log.info(
            who, "core.py:248", f"init engine (profile, create kv cache, warmup model) took {seconds * 0.3:.2f} seconds"
        )

    def _drafts(self) -> int:
        """Tokens that speculative decoding guesses at a time."""
        import json

        text = self._given.text("speculative-config")
        number = json.loads(text).get("num_speculative_tokens", 1) if text else 0
        return int(number)

    def _die_if_told(self) -> None:
        """The faults of a server that dies, or falls silent, while it loads."""
        self._ending.look()
        words = self._node.state.get("vllm/die_at_start").split(maxsplit=2)
        if not words or monotonic() - self._began < float(words[0]):
            return
        text = (
            words[2]
            if len(words) > 2
            else "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 64.00 GiB total capacity)"
        )
        raise StartFailed(text, engine=self._site.engines[0], exit=int(words[1]) if len(words) > 1 else 1)

    def _serve_api(self, bound: socket.socket, model: Model, partners: Partners | None) -> int:
        site = self._site
        one_engine = site.nnodes > 1 or site.on_ray
        ranks = range(1) if one_engine else range(site.dp) if site.balancing == "internal" else site.engines
        engines = Engines(ranks, self._node.state, partners, lockstep=bool(model.experts), one_engine=one_engine,
                          drafts=self._drafts(), transfers=self._transfer is not None)  # fmt: skip
        names = tuple(self._given.many("served-model-name")) or (self._given.model,)
        keys = tuple(filter(None, [*self._given.many("api-key"), os.environ.get("VLLM_API_KEY", "")]))
        length = self._given.number("max-model-len", model.positions)
        host, port = self._given.text("host") or "0.0.0.0", self._given.number("port", 8000)
        log.info(_API, "api_server.py:1839", f"Starting vLLM API server 0 on http://{host}:{port}")
        for line in (
            f"Started server process [{os.getpid()}]",
            "Waiting for application startup.",
            "Application startup complete.",
        ):
            log.plain(f"INFO:     {line}")
        api = Api(bound, Settings(names, self._given.model, length, keys, self._transfer), engines)
        self._die_later()
        log.plain(f"INFO:     Uvicorn running on http://{host}:{port} (Press CTRL+C to quit)")
        api.serve_forever(poll_interval=0.2)
        return 0

    def _die_later(self) -> None:
        """The fault of a server that serves for a while and then dies, as its process is killed."""
        words = self._node.state.get("vllm/die_after_start").split()
        if words:
            killing = threading.Timer(float(words[0]), os._exit, (int(words[1]) if len(words) > 1 else 137,))
            killing.daemon = True
            killing.start()


def _mislead(node: Node, given: command_line.Arguments) -> None:
    """The faults of a command that is late, gives another rank than its own, or another address of the head."""
    sleep(node.state.number("vllm/late_seconds"))
    ranks = [name for name in ("data-parallel-rank", "data-parallel-start-rank", "node-rank") if given.has(name)]
    for key, names in (("vllm/wrong_rank", ranks), ("vllm/wrong_address", ["data-parallel-address", "master-addr"])):
        wrong = node.state.get(key)
        given.given.update({name: wrong for name in names if wrong and given.has(name)})


def _greet(node: Node, given: command_line.Arguments) -> None:
    if node.is_npu:
        log.plugin_found()
    else:
        log.info("", "__init__.py:216", "Automatically detected platform cpu.")
    if not given.on("headless"):
        log.info(_API, "api_server.py:1977", f"vLLM API server version {VERSION}")
    log.info(_API, "utils.py:233", f"non-default args: { {'model_tag': given.model, **given.given} }")


def _stop(number: int, frame: object) -> NoReturn:
    """SIGTERM and SIGINT end a server in order."""
    log.plain("INFO:     Shutting down")
    log.plain("INFO:     Waiting for application shutdown.")
    log.plain("INFO:     Application shutdown complete.")
    log.plain(f"INFO:     Finished server process [{os.getpid()}]")
    os._exit(0)
