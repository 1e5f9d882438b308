"""Listeners that the check host_tcp starts on a node, and that end by themselves:

    python3 tcp_listen.py WORD SECONDS ADDRESS COUNT PORT…

Listens at ADDRESS on each PORT that is free and on COUNT ports that the system chooses, says "port P", "taken P" or
"cannot P REASON" of each, then "pid N" of the process that stays for at most SECONDS and greets whoever comes with
WORD. Whoever greets otherwise is not the node that was meant. Runs with any Python from 3.6.
"""

import errno
import os
import select
import signal
import socket
import sys
import time

word, seconds, address, count = sys.argv[1], float(sys.argv[2]), sys.argv[3], int(sys.argv[4])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listeners = []
for port in [int(text) for text in sys.argv[5:]] + [0] * count:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(256)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        print(f"taken {port}" if taken else f"cannot {port} {error.strerror or error}")
        listener.close()
        continue
    listener.setblocking(False)
    listeners.append(listener)
    print("port" if port else "random", listener.getsockname()[1])
sys.stdout.flush()
if not listeners:
    sys.exit(0)
pid = os.fork()
if pid:
    print("pid", pid)
    sys.exit(0)
os.setsid()
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.alarm(int(seconds) + 5)
nowhere = os.open(os.devnull, os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(nowhere, descriptor)
guests = []
end = time.monotonic() + seconds
while time.monotonic() < end:
    for one in select.select(listeners + guests, [], [], max(0.0, end - time.monotonic()))[0]:
        try:
            if one in listeners:
                guest = one.accept()[0]
                guest.setblocking(False)
                guests.append(guest)
                guest.send(word.encode() + b"\n")
            else:  # it is the guest who closes first: no port of the launch stays in TIME_WAIT
                guests.remove(one)
                one.close()
        except OSError:
            pass
os._exit(0)
