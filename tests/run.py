"""Run the tests by tier: ``python -m tests.run [pure|rehearsal|real]...``; all three without a word.

A tier that this machine can't run is named, with the reason and how to get it; with ``QNEXT_REAL=require`` (CI) that is
a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

_TOOLS = ["tests/facts", "tests/accel", "tests/render"]
_WAITING = ["tests/engine", "tests/evaluate", "tests/cli", "tests/modules", "tests/store"]
_OTHERS = [f"--ignore={folder}" for folder in (*_TOOLS, *_WAITING, "tests/real", "tests/scenarios")]
_PURE = ["-q", "-m", "not rehearsal and not real"]

TIERS = {
    # Parts side by side: thousands of short tests cost xdist more to hand out than to run.
    "pure": [[*_PURE, *_TOOLS], [*_PURE, *_WAITING], [*_PURE, "tests", *_OTHERS]],
    # By file, as each file has its clusters; xdist 3.8's groups are without effect under pytest 9.2.
    "rehearsal": [["-m", "rehearsal and not real", "-n", "6", "--dist", "loadfile"]],
    "real": [["-m", "real", "tests/real", "-p", "no:randomly", "-v"]],
}
"""Pytest's arguments by tier; where there are several, they run at the same time."""


def main(words: list[str]) -> int:
    unknown = [w for w in words if w not in TIERS]
    if unknown:
        print(f"no tier {unknown[0]}; there are {', '.join(TIERS)}", file=sys.stderr)
        return 2
    failed = []
    for tier in words or list(TIERS):
        began = time.monotonic()
        print(f"== {tier} tier", flush=True)
        why = real_tier_missing() if tier == "real" else ""
        if why and os.environ.get("QNEXT_REAL") != "require":
            print(f"real tier skipped: {why}", flush=True)
            continue
        status = max(run(TIERS[tier]))
        print(f"== {tier} tier: {time.monotonic() - began:.1f} s, exit status {status}", flush=True)
        if status != 0:
            failed.append(tier)
    print(f"failed: {', '.join(failed)}" if failed else "all tiers that ran passed", flush=True)
    return 1 if failed else 0


def run(parts: list[list[str]]) -> list[int]:
    """Exit statuses of these pytests, run at the same time; each one's output is shown whole."""
    if len(parts) == 1:
        return [subprocess.run(_pytest(parts[0]), check=False).returncode]
    with ThreadPoolExecutor(len(parts)) as pool:
        return [_shown(done) for done in pool.map(_captured, parts)]


def _pytest(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


def _captured(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(_pytest(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def _shown(done: subprocess.CompletedProcess[bytes]) -> int:
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.flush()
    return done.returncode


def real_tier_missing() -> str:
    """Why the real tier can't run here, with how to get it; empty where it can."""
    from tests.real.nodes import missing

    lacks = missing()
    return f"it needs {', '.join(lacks)}; as root on Debian 12, run .ci/real-packages" if lacks else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
