"""Connections that the check host_tcp tries from a node:

    python3 tcp_connect.py SECONDS SAMPLES NAME=WORD=ADDRESS=PORT,PORT…

Says "NAME PORT OUTCOME" of each port of each NAME: ok, refused, timeout, unreachable, forbidden (by the node itself),
reset, silent (connected, but nobody greets), stranger (somebody greets with another word than WORD), or another error's
name. With an empty WORD nobody need greet. Then "NAME latency MS", the least of SAMPLES connections one after the other
to a port that is well. Each try takes at most SECONDS, all are made at once. Runs with any Python from 3.6.
"""

import errno
import selectors
import socket
import sys
import time

seconds, samples = float(sys.argv[1]), int(sys.argv[2])
NAMES = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EINVAL: "unreachable",  # a route named blackhole
    errno.EPERM: "forbidden",
    errno.EACCES: "forbidden",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
}
AT_ONCE = 200
UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)

targets = []
for text in sys.argv[3:]:
    name, word, address, ports = text.split("=")
    targets.extend((name, word, address, int(port)) for port in ports.split(","))


def named(number):
    return NAMES.get(number, errno.errorcode.get(number, f"error{number}"))


def opened(address, port):
    way = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    way.setblocking(False)
    return way, way.connect_ex((address, port))


def greeted(way, word):
    """What a connection that is ready to be read says."""
    try:
        heard = way.recv(200)
    except OSError as error:
        return named(error.errno)
    return "ok" if heard.strip() == word.encode() else "stranger" if heard else "silent"


outcomes = {}
waiting = list(reversed(targets))
chooser = selectors.DefaultSelector()
under_way = {}
while waiting or under_way:
    while waiting and len(under_way) < AT_ONCE:
        target = waiting.pop()
        try:
            way, number = opened(target[2], target[3])
        except OSError as error:
            outcomes[target] = named(error.errno)
            continue
        if number in UNDER_WAY:
            under_way[way] = (target, time.monotonic() + seconds)
            chooser.register(way, selectors.EVENT_WRITE)
        else:
            outcomes[target] = named(number)
            way.close()
    ended = []
    for key, _ in chooser.select(0.05):
        way = key.fileobj
        target = under_way[way][0]
        if key.events == selectors.EVENT_WRITE:
            number = way.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not number and target[1]:
                chooser.modify(way, selectors.EVENT_READ)
                continue
            outcomes[target] = named(number) if number else "ok"
        else:
            outcomes[target] = greeted(way, target[1])
        ended.append(way)
    for way, (target, until) in under_way.items():
        if target not in outcomes and time.monotonic() > until:
            outcomes[target] = "silent" if chooser.get_key(way).events == selectors.EVENT_READ else "timeout"
            ended.append(way)
    for way in ended:
        chooser.unregister(way)
        del under_way[way]
        way.close()

for target in targets:
    print(target[0], target[3], outcomes[target])

best = {}
until = time.monotonic() + seconds
for name, _, address, port in targets:
    if name in best or outcomes[name, _, address, port] != "ok":
        continue
    times = []
    for _ in range(samples):
        if time.monotonic() > until:
            break
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as way:
            way.settimeout(seconds)
            begun = time.monotonic()
            try:
                way.connect((address, port))
            except OSError:
                continue
            times.append(time.monotonic() - begun)
    if times:
        best[name] = min(times)
        print(name, "latency", "%.4f" % (best[name] * 1000))
