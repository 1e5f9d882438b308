import json
import os
import subprocess
import sys
import time
from hashlib import sha256

wheels, venv, machine = sys.argv[1:4]
built = json.load(open(wheels + "/built"))
pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format=freeze", "--exclude", "pip"]
listed = subprocess.check_output(pip).decode()
sums = open(wheels + "/sums").read()
pairs = dict(line.split("==", 1) for line in listed.split() if "==" in line)
wanted = {line.split("==", 1)[0] for line in open(wheels + "/requirements.txt")}
# What the interpreter's own ensurepip brought is not counted: it differs between patches of one Python.
counted = sorted(line for line in listed.split() if line.split("==", 1)[0] in wanted)
record = {
    "id": "sha256:" + sha256(("\n".join(counted) + "\n" + sums).encode()).hexdigest(),
    "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "arch": {"aarch64": "arm64", "x86_64": "amd64"}.get(machine, machine),
    "python": "%d.%d.%d" % sys.version_info[:3],
    "wheels": sha256(sums.encode()).hexdigest(),
    "key": built["key"],
    "release": built["release"],
    "soc_version": built["soc_version"],
    "commits": built["commits"],
    "versions": {name.lower().replace("_", "-"): version for name, version in sorted(pairs.items())},
}
with open(venv + "/.qnext.json", "w") as file:
    json.dump(record, file)
    file.write("\n")
    file.flush()
    os.fsync(file.fileno())
os.rename(venv + "/.qnext.json", venv + "/qnext.json")
print("==", record["id"])
