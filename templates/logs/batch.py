# Runs on a node: what several logs say, in few large writes of whole lines, each with its log's letter (none if alone).
import os
import select
import sys
import time

FULL, MOMENT = 32768, 0.05


def cut(data, letter, ended):
    """Whole lines of data, marked, and what is left of it."""
    if ended and data and not data.endswith(b"\n"):
        data += b"\n"
    end = data.rfind(b"\n") + 1
    whole = data[:end]
    if letter and whole:
        whole = letter + whole[:-1].replace(b"\n", b"\n" + letter) + b"\n"
    return whole, data[end:]


def pieces(letters):
    rest = dict.fromkeys(letters, b"")
    poll = select.poll()
    for file in rest:
        poll.register(file, select.POLLIN | select.POLLHUP)
    while rest:
        files = [file for file, _ in poll.poll()]
        got = {file: os.read(file, 65536) for file in files}
        if sum(map(len, got.values())) < FULL and all(got.values()):
            time.sleep(MOMENT)
            for file, _ in poll.poll(0):
                more = os.read(file, 65536) if got.get(file, b"+") else b""
                got[file] = got.get(file, b"") + more
        for file, data in got.items():
            whole, rest[file] = cut(rest[file] + data, letters[file], not data)
            yield whole
            if not data:
                poll.unregister(file)
                del rest[file]


files = [int(word) for word in sys.argv[1:]]
letters = {file: b"" if len(files) == 1 else b"%c" % (97 + place) for place, file in enumerate(files)}
for piece in pieces(letters):
    while piece:
        piece = piece[os.write(1, piece) :]
