"""How a server fails by its devices, its memory or its peers: the faults on which finding a first cause is practised.

What the real one leaves behind is left behind: a line that tells little on its output, and the code in CANN's plog; no
word at all where the kernel ends it, and a line in the kernel's log; or nothing anywhere, while all others wait for it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

from provision.clock import monotonic, sleep
from provision.rehearsal import wall
from provision.rehearsal.standins.vllm import log, plog
from provision.rehearsal.standins.vllm.failure import StartFailed
from provision.rehearsal.standins.vllm.site import Site

_CODES = {
    "EI0002": ("4", "The wait execution of the Notify register times out. Reason: The Notify register has not received "
               "the Notify record from remote rank"),
    "EI0006": ("9", "Getting socket times out. Reason: Remote Rank did not send the data in time. Please check the "
               "reason for the rank being stuck"),
    "EI0011": ("7", "Failed to allocate memory for HCCL"),
    "EI0015": ("4", "The collective communication operator times out: the cluster information cannot be collected"),
}  # fmt: skip
"""What HCCL returns and what its plog says, by the code."""

_STUCK = "EI0006"
_MOURNED = "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer"
_WORKER = '"/vllm-workspace/vllm/vllm/v1/executor/multiproc_executor.py", line {line}, in worker_busy_loop'
_USUAL_LINES = 20


class Ending:
    """The end of one server, as the faults of its node want it. ``began`` on the monotonic clock."""

    def __init__(self, site: Site, began: float) -> None:
        self._site = site
        self._state = site.node.state
        self._began = began

    @property
    def patience(self) -> float:
        """Seconds that a server which has loaded waits for the others; 0: without limit."""
        return self._state.number("hccl/timeout")

    def look(self) -> None:
        """Fail or fall silent where it is time. Called again and again while the server loads."""
        if self._due("vllm/oom_killed"):
            self._end_by_kernel()
        if self._due("vllm/silent"):
            threading.Event().wait()
        if self._due("hccl/fails"):
            raise self._collective(([*self._state.get("hccl/fails").split(), _STUCK])[1])

    def mourn(self) -> None:
        """A peer is gone: complain long and loudly, after the seconds that it takes to notice. Without the fault
        ``vllm/mourns`` nothing is said."""
        words = self._state.get("vllm/mourns").split()
        if not words:
            return
        sleep(float(words[0]))
        for line in range(int(words[1]) if len(words) > 1 else _USUAL_LINES):
            for worker in range(self._site.tp):
                log.traceback(f"Worker_TP{worker}", "multiproc_executor.py:822", [_WORKER.format(line=line)], _MOURNED)
        raise StartFailed(_MOURNED, engine=self._site.engines[0])

    def timed_out(self, absent: Sequence[int]) -> StartFailed:
        """The others did not come: the plog names those that are ``absent``, by their ranks in the communicator of all
        data-parallel engines."""
        self._plog(_STUCK, absent)
        return self._failed(_STUCK)

    def _due(self, key: str) -> bool:
        words = self._state.get(key).split()
        return bool(words) and monotonic() - self._began >= float(words[0])

    def _collective(self, code: str) -> StartFailed:
        self._plog(code, [])
        return StartFailed(
            f"RuntimeError: createHCCLComm:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:2127 HCCL function error: "
            f"hcclCommInitRootInfoConfig, error code is {_CODES[code][0]}\n"
            f"[ERROR] {wall.local('%Y-%m-%d-%H:%M:%S')} (PID:{os.getpid()}, Device:0, RankID:-1) ERR02200 DIST call hccl "
            "api failed.",
            engine=self._site.engines[0],
        )

    def _failed(self, code: str) -> StartFailed:
        return StartFailed(
            f"RuntimeError: InnerRunOpApi:torch_npu/csrc/framework/OpParamMaker.cpp:281 OPS function error: HcclAllreduce, "
            f"error code is {_CODES[code][0]}\n"
            f"[ERROR] {wall.local('%Y-%m-%d-%H:%M:%S')} (PID:{os.getpid()}, Device:0, RankID:-1) ERR00100 PTA call acl api "
            f"failed.\n{code}: [PID: {os.getpid()}] {plog.moment()} {_CODES[code][1]}",
            engine=self._site.engines[0],
        )

    def _plog(self, code: str, absent: Sequence[int]) -> None:
        own = self._site.engines[0]
        lines = [
            ("hccl_socket_manager.cc:797", f"[Wait][LinkEstablish]wait socket establish timeout, role[1] rank[{own}] "
                                           "timeout[120 s]"),
            ("hccl_socket_manager.cc:861", "[Wait][LinksEstablishCompleted] is failed. ret[9]."),
            *(_table(own, absent) if absent else ()),
            ("hccl_communicator.cc:5007", f"[AllocAlgResource]{code}: {_CODES[code][1]}"),
        ]  # fmt: skip
        plog.write(self._site.root, "debug", "ERROR", lines)

    def _end_by_kernel(self) -> None:
        """Killed for lack of the machine's memory: docker does not call that OOMKilled."""
        from provision.rehearsal import host

        pid = os.getpid()
        self._state.set(
            "dmesg/oom",
            f"Out of memory: Killed process {pid} (VLLM::EngineCor) total-vm:812345678kB, anon-rss:401234567kB, "
            "file-rss:0kB, shmem-rss:1234kB, UID:0 pgtables:812345kB oom_score_adj:0",
        )
        host.follow(self._site.node)
        os.kill(pid, signal.SIGKILL)


def _table(own: int, absent: Sequence[int]) -> list[tuple[str, str]]:
    """Who was waited for, as HCCL prints it."""
    head = "|  dest_ip(user_rank)  |   dest_port   |  src_ip(user_rank)   |   src_port   |   MyRole   |   Status   |    TlsStatus   |"
    rows = [
        ("hccl_socket_manager.cc:583", f"   |  192.0.2.{100 + rank}({rank})   |  16666  |   192.0.2.{100 + own}({own})   |  3234403008  |  client  "
                                       "| time out |   DISABLE  | LinkInfo")
        for rank in absent
    ]  # fmt: skip
    return [
        ("hccl_socket_manager.cc:623", "   _________________________LINK_ERROR_INFO___________________________"),
        ("hccl_socket_manager.cc:624", "   |  comm error, device[0]"),
        ("hccl_socket_manager.cc:626", f"   {head}"),
        *rows,
    ]
