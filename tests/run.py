"""Run the tests by tier: ``python -m tests.run [pure|rehearsal|real]...``; all three without a word.

A tier that this machine can't run is named, with the reason and how to get it; with ``QNEXT_REAL=require`` (CI) that is
a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

_IGNORED = [f"--ignore=tests/{folder}" for folder in ("real", "scenarios")]
"""Folders without a pure test: collecting them takes its time."""

TIERS = {
    "pure": ["-m", "not rehearsal and not real", "-n", "3", "--dist", "worksteal", *_IGNORED],
    # By file, as each file has its clusters; xdist 3.8's groups are without effect under pytest 9.2.
    "rehearsal": ["-m", "rehearsal and not real", "-n", "6", "--dist", "loadfile"],
    "real": ["-m", "real", "tests/real", "-p", "no:randomly", "-v"],
}
NO_TESTS = 5
"""Pytest's exit status where it found no test to run."""


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
        status = subprocess.run([sys.executable, "-m", "pytest", *TIERS[tier]], check=False).returncode
        print(f"== {tier} tier: {time.monotonic() - began:.1f} s, exit status {status}", flush=True)
        if status not in (0,):
            failed.append(tier)
    print(f"failed: {', '.join(failed)}" if failed else "all tiers that ran passed", flush=True)
    return 1 if failed else 0


def real_tier_missing() -> str:
    """Why the real tier can't run here, with how to get it; empty where it can."""
    from tests.real.nodes import missing

    lacks = missing()
    return f"it needs {', '.join(lacks)}; as root on Debian 12, run .ci/real-packages" if lacks else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
