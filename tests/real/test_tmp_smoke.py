import time
from .dress import dress_as_a3, undress

def test_basics(cluster, tmp_path):
    n1, n2 = cluster.nodes
    assert cluster.ssh(n1, "hostname").stdout == "node-1\n"
    assert n1.listening() >= {22}
    n1.write("/etc/x y/z", b"\x00\xffhi'", 0o600)
    assert n1.exec("cat '/etc/x y/z' | od -An -tx1; stat -c %a '/etc/x y/z'").stdout.split() == "00 ff 68 69 27 600".split()
    n2.stop_sshd()
    assert cluster.ssh(n2, "true").returncode == 255
    n2.start_sshd()
    assert cluster.ssh(n2, "true").returncode == 0
    print(n1.processes())

def test_dress(cluster):
    n1 = cluster.nodes[0]
    t = time.time(); dress_as_a3(n1, {3: "Alarm"}); print("dress", time.time() - t)
    for c in ("npu-smi info", "npu-smi info -m", "npu-smi info -l", "npu-smi info -t health -i 1 -c 1", "npu-smi info -t health -i 1", "npu-smi info -t board -i 0 -c 0", "npu-smi info -t health -i 9; echo rc $?", "npu-smi info -t topo", "npu-smi info -t spod-info -i 3 -c 1", "ls -la /dev",
              "for f in -ip -link -net_health -netdetect -gateway -vnic -tls -lldp -fec -optical -link_stat -stat; do /usr/local/Ascend/driver/tools/hccn_tool -i 15 $f -g; done; /usr/local/Ascend/driver/tools/hccn_tool -i 3 -ping -g address 1.2.3.4;  /usr/local/Ascend/driver/tools/hccn_tool -i 16 -ip -g; echo rc $?"):
        d = n1.exec(c); print("$", c); print(d.stdout, d.stderr)
    undress(n1)
    assert not n1.exists("/dev/davinci0") and not n1.exists("/usr/local/Ascend")
    import os
    assert not os.path.exists("/dev/davinci0")

def test_slow(cluster):
    n1, n2 = cluster.nodes
    n1.slow_registry("20mbit")
    t = time.time()
    assert cluster.ssh(n1, "timeout 10 docker pull quay.io/ascend/vllm-ascend:v0.18.0-a3").returncode == 124
    t = time.time(); assert cluster.ssh(n1, "true").returncode == 0; print("ssh under slow", time.time() - t)
    print(n1.exec("head -c 200 /proc/net/dev; grep eth0 /proc/net/dev").stdout)
    n1.full_speed()
    t = time.time(); cluster.reset(); print("reset", time.time() - t)
    t = time.time(); n1.stop_dockerd(); print("stop", time.time() - t); assert n1.exec("docker info").returncode; t = time.time(); n1.start_dockerd(); print("start", time.time() - t)
