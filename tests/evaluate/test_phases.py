"""How far a start is, by log lines as vLLM and vllm-ascend have written them from release to release."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.evaluate import phases
from provision.evaluate.phases import Progress, Track, progress_of

CASES = [
    ("(APIServer pid=1) INFO 11-24 06:20:00 [api_server.py:1977] vLLM API server version 0.18.0", "starting"),
    ("INFO 10-06 [core.py:77] Initializing a V1 LLM engine (v0.11.0) with config: model='/data/x'", "starting"),
    (
        "INFO 11-24 [serve.py:178] Launching 2 data parallel engine(s) in headless mode, with head node address "
        "tcp://10.0.0.1:13389.",
        "joining: the head",
    ),
    (
        "DEBUG 11-24 [utils.py:905] Waiting for 0 local, 1 remote core engine proc(s) to connect.",
        "joining: waits for 0 local and 1 remote engines to connect",
    ),
    (
        "DEBUG 11-24 [utils.py:905] Waiting for 2 local, 0 remote core engine proc(s) to start.",
        "joining: waits for 2 local and 0 remote engines to start",
    ),
    ("(APIServer pid=1) INFO 06-01 [utils.py:712] Started DP Coordinator process (PID: 71)", "joining"),
    (
        "INFO 06-01 [parallel_state.py:1208] world_size=2 rank=1 local_rank=0 "
        "distributed_init_method=tcp://10.0.0.1:29501 backend=hccl",
        "joining",
    ),
    ("2026-01-01 INFO worker.py:1771 -- Connecting to existing Ray cluster at address: 10.0.0.1:6379...",
     "joining: the Ray cluster"),
    (
        "INFO [ray_utils.py:233] Waiting for creating a placement group of specs for 10 seconds. specs=[{'NPU': 1.0}]",
        "joining: waits for Ray to find the devices",
    ),
    ("(Worker_TP0 pid=9) INFO 10-11 [model_runner_v1.py:2640] Starting to load model /data/Qwen3-Next...",
     "loading weights"),
    ("Loading safetensors checkpoint shards:  54% Completed | 20/37 [01:27<01:19,  4.66s/it]",
     "loading weights 54 % (20/37)"),
    ("Loading safetensors checkpoint shards:   0% Completed | 0/1 [00:00<?, ?it/s]", "loading weights 0 % (0/1)"),
    ("(Worker_TP0 pid=576689) \rLoading safetensors checkpoint shards:  25% Completed | 1/4 [01:27<01:19]",
     "loading weights 25 % (1/4)"),
    ("Loading pt checkpoint shards: 100% Completed | 2/2 [00:07<00:00]", "loading weights 100 % (2/2)"),
    ("Multi-thread loading shards:  40% Completed | 4/10 [00:01<00:02,  2.9it/s]", "loading weights 40 % (4/10)"),
    ("Loading safetensors using Fastsafetensor loader:  50% Completed | 5/10 [00:01<00:01]",
     "loading weights 50 % (5/10)"),
    ("Loading safetensors using Runai Model Streamer:  48% Completed | 180/371 [00:06<00:06, 31.3it/s]",
     "loading weights 49 % (180/371)"),
    ("Loading safetensors checkpoint shards:  37%", "loading weights 37 %"),
    ("(Worker_TP0 pid=576689) INFO 06-21 00:07:09 [default_loader.py:397] Loading weights took 180.25 seconds",
     "weights loaded: in 180 s"),
    ("INFO [gpu_model_runner.py:2007] Model loading took 7.6065 GiB and 1.163559 seconds", "weights loaded: in 1 s"),
    ("INFO [model_runner_v1.py:2678] Model loading took 37.8443 GB memory and 41.3 seconds", "weights loaded: in 41 s"),
    ("Model loading took 55.22 GiB memory and 20.3s", "weights loaded: in 20 s"),
    ("(EngineCore_DP0 pid=1) INFO 02-16 [backends.py:319] Compiling a graph for compile range (1, 2048) takes 6.40 s",
     "compiling"),
    ("INFO 03-23 05:02:56 [backends.py:144] Compiling a graph for general shape takes 27.31 s", "compiling"),
    ("INFO 02-16 14:53:25 [monitor.py:34] torch.compile takes 9.85 s in total", "compiling"),
    ("INFO 06-21 00:07:36 [monitor.py:53] torch.compile took 25.99 s in total", "compiling"),
    ("INFO 02-16 [gpu_worker.py:356] Available KV cache memory: 26.54 GiB", "KV cache: being sized"),
    ("(EngineCore_DP0 pid=2041805) INFO 10-14 [kv_cache_utils.py:864] GPU KV cache size: 128,000 tokens",
     "KV cache: 128,000 tokens"),
    ("INFO [kv_cache_utils.py:864] CPU KV cache size: 4,096 tokens", "KV cache: 4,096 tokens"),
    ("INFO 02-13 15:01:40 kv_cache_utils.py:407] # GPU blocks: 33660", "KV cache: 33660 blocks"),
    (
        "(Worker_TP0 pid=6952) INFO 11-03 13:19:41 [model_runner_v1.py:3964] Starting to capture ACL graphs for cases: "
        "[1, 24, 64, 104], mode: PIECEWISE, uniform_decode: False",
        "capturing graphs 0 % (0/4)",
    ),
    (
        "Capturing ACL graphs (mixed prefill-decode, PIECEWISE):   9%|██▎       | 1/11 [00:01<00:11,  1.18s/it]"
        "[rank1]:[W1103 13:19:43.194702705 compiler_depend.ts:149] Warning: Waiting for pending NCCL work",
        "capturing graphs 9 % (1/11)",
    ),
    ("Capturing CUDA graphs (decode, FULL): 100%|██████████| 35/35 [00:04<00:00,  8.2it/s]",
     "capturing graphs 100 % (35/35)"),
    ("Capturing CUDA graph shapes:  50%|█████     | 4/8", "capturing graphs 50 % (4/8)"),
    ("(Worker_TP0) Capturing ACL graphs (decode, FULL):  50%", "capturing graphs 50 %"),
    ("INFO [gpu_model_runner.py:3480] Graph capturing finished in 8 secs, took 0.31 GiB",
     "capturing graphs: done in 8 s"),
    ("INFO [core.py:248] init engine (profile, create kv cache, warmup model) took 28.44 seconds", "engine ready"),
    ("INFO [core.py:210] init engine took 70.62 s (compilation: 42.18 s)", "engine ready"),
    ("INFO:     Application startup complete.", "ready"),
    ("INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)", "ready"),
]  # fmt: skip

NOTHING = [
    "",
    'INFO:     10.0.0.1:51234 - "GET /health HTTP/1.1" 200 OK',
    "(APIServer pid=1) INFO [loggers.py:123] Engine 000: Avg prompt throughput: 4.2 tokens/s, Running: 1 reqs",
    "WARNING [utils.py:1] Using default MoE config. Performance might be sub-optimal!",
]


@pytest.mark.parametrize(("line", "text"), CASES)
def test_a_line_tells_the_phase(line: str, text: str) -> None:
    found = progress_of(f"something else\n{line}\n")
    assert found is not None
    assert found.text == text


@pytest.mark.parametrize("line", NOTHING)
def test_other_lines_tell_nothing(line: str) -> None:
    assert progress_of(line) is None


@pytest.mark.skipif(not shutil.which("grep"), reason="there is no grep")
def test_the_node_sends_every_line_that_tells_something() -> None:
    lines = "\n".join(line.replace("\r", "") for line, _ in CASES)
    done = subprocess.run(
        ["grep", "-acE", "-e", phases.MATCHING], input=lines, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == len(CASES)
    assert not any(re.search(phases.MATCHING, line) for line in NOTHING)


def test_the_foremost_rank_counts_and_its_latest_line() -> None:
    log = (
        "(Worker_TP1) Loading weights took 12.1 seconds\n"
        "(Worker_TP0) Loading safetensors checkpoint shards:  75% Completed | 3/4\n"
    )
    assert progress_of(log) == Progress("weights loaded", detail="in 12 s")
    both = "Capturing CUDA graphs (mixed, PIECEWISE): 100%| 67/67\rCapturing CUDA graphs (decode, FULL): 3%| 1/35"
    assert progress_of(both) == Progress("capturing graphs", 1, 35)


@given(st.binary(max_size=200))
def test_no_log_breaks_it(log: bytes) -> None:
    progress_of(log.decode("utf-8", "replace"))


def test_the_way_through_the_phases() -> None:
    track = Track(100.0)
    assert not track.see(Progress("starting"), 101.0)
    assert track.see(Progress("loading weights", 0, 10), 110.0)
    assert not track.see(Progress("loading weights", 4, 10), 205.0)
    assert track.text(205.0, 210.0) == "loading weights 40 % (4/10), 95 s, usually 210 s"
    assert not track.see(None, 206.0), "a log without a telling line changes nothing"
    assert not track.see(Progress("starting"), 207.0), "a start never goes back"
    assert track.see(Progress("ready"), 300.0)
    assert track.spent == {"starting": 10.0, "loading weights": 190.0}


@pytest.mark.parametrize(
    ("seconds", "usual", "slow"),
    [(500, 210, True), (400, 210, False), (25, 1, False), (32, 1, True), (900, None, False)],
)
def test_slow_is_much_longer_than_usual(seconds: float, usual: float | None, slow: bool) -> None:
    track = Track(0.0)
    track.see(Progress("loading weights", 1, 4), 0.0)
    assert track.slow(seconds, usual) is slow
    assert ("much longer than the usual" in track.text(seconds, usual)) is slow
