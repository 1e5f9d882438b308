"""Many pings from a node's NPUs, asked one after the other by one script that keeps its own time.

What holds on the node holds without us: every call has its deadline, the whole has one, and where pings are lost each
costs seconds, so what has lost its first ones is not asked on and on: a device, another node, or what leads off the
rails. What was not asked is in nobody's answer. The tool is busy while others use it (a monitoring agent): asked again.

``-ping`` (RoCE) sends three packets, its only option is their size; ``-hccs_ping`` takes a count and answers after a
second at the earliest, as it looks for the result once a second [hicann/driver, tool_cmd.c, dsmi_network.c].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from provision.accel.ascend.hccn_ping import HccnPing, parse_ping
from provision.facts.reading import integer
from provision.shell import quote

Way = Literal["ping", "hccs_ping"]
"""The tool's object: over RoCE, or over HCCS inside of a super-pod."""

SECONDS: dict[Way, float] = {"ping": 0.6, "hccs_ping": 1.2}
"""What a call takes that goes well, for estimates: a guess for RoCE, for HCCS the second that it waits at least."""

HUNG_CALLS = 4
"""So many calls one after the other that outrun their deadline end the sweep: the tool hangs."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One ping from a device (davinci number) to an address. ``groups`` are words: once ``give_up`` pings of a group
    were lost and none went well, the others of the group are not asked."""

    device: int
    way: Way
    address: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that the whole sweep and each call may take, packets of an ``hccs_ping``, losses until giving up."""

    deadline: float = 300.0
    call: float = 10.0
    packets: int = 3
    give_up: int = 3


def script(asks: Sequence[Ask], limits: Limits) -> str:
    """The script. It prints ``@@ N EXIT`` and the answer for each ask that was made, ``@@ left N`` for each that was
    given up, ``@@ over`` where its time was up, ``@@ hangs`` where the tool hung, ``@@ missing`` without the tool."""
    lines = "".join(f"{n} {_line(ask, limits)}\n" for n, ask in enumerate(asks))
    return _SWEEP.format(
        deadline=max(1, round(limits.deadline)),
        call=max(1, round(limits.call)),
        give_up=limits.give_up,
        hung=HUNG_CALLS,
        asks=quote(lines),
    )


def _line(ask: Ask, limits: Limits) -> str:
    count = limits.packets if ask.way == "hccs_ping" else 0
    return f"{ask.device} {ask.way} {ask.address} {count} {' '.join(ask.groups)}".rstrip()


# Group words are letters and digits: they become names of variables. Where others say 124, busybox' timeout says 143.
_SWEEP = """\
PATH=$PATH:/usr/local/Ascend/driver/tools
t=$(command -v hccn_tool) || {{ echo '@@ missing'; exit 0; }}
up() {{ read -r now _ </proc/uptime; now=${{now%.*}}; }}
up; end=$((now + {deadline})); hung=0
given_up() {{ for g; do eval "l=\\${{lost_$g:-0}}"; [ "$l" -lt {give_up} ] || return 0; done; return 1; }}
lost() {{ for g; do eval "lost_$g=\\$((\\${{lost_$g:-0}} + 1))"; done; }}
well() {{ for g; do eval "lost_$g=-1000000"; done; }}
ask() {{
  left=$((end - now)); [ "$left" -lt {call} ] || left={call}
  case $count in 0) more= ;; *) more="cnt $count" ;; esac
  o=$(timeout "$left" "$t" -i "$i" "-$way" -g address "$address" $more 2>&1 </dev/null); e=$?
  [ "$e" -ne 143 ] || e=124
}}
printf %s {asks} | {{
while read -r n i way address count groups; do
  up; [ "$now" -lt "$end" ] || {{ echo '@@ over'; break; }}
  if given_up $groups; then echo "@@ left $n"; continue; fi
  ask; again=3
  while [ "$e" = 11 ] && [ $again -gt 0 ] && [ $((now + 1)) -lt "$end" ]; do
    sleep 1; up; again=$((again - 1)); ask
  done
  printf '@@ %s %s\\n%s\\n' "$n" "$e" "$o"
  case $o in *" 0 received"*) lost $groups ;; *" received"*) well $groups ;; *) lost $groups ;; esac
  if [ "$e" = 124 ]; then hung=$((hung + 1)); else hung=0; fi
  [ $hung -lt {hung} ] || {{ echo '@@ hangs'; break; }}
done
}}
:
"""


@dataclass(frozen=True, slots=True)
class Pinged:
    """An answer. ``ping`` is None where there is none in it; ``said`` is then its last line, or that it hung."""

    ping: HccnPing | None
    said: str = ""

    @property
    def received(self) -> int:
        """Packets that came back."""
        return (self.ping.received or 0) if self.ping else 0


@dataclass(slots=True)
class Sweep:
    """What a sweep's lines have told so far: ``answers`` by number of the ask, ``left``: which were given up;
    ``ended`` is missing, hangs or over, else empty."""

    answers: dict[int, Pinged] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    ended: str = ""
    _open: tuple[int, int] | None = None
    _body: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Asks that are settled."""
        return len(self.answers) + len(self.left)

    @property
    def lost(self) -> int:
        """Pings of which nothing came back."""
        return sum(1 for answer in self.answers.values() if not answer.received)

    def hear(self, line: str) -> bool:
        """Take a line; whether an ask was settled by it. Never raises."""
        if not line.startswith("@@ "):
            self._body.append(line)
            return False
        self.close()
        words = line.split()[1:]
        number = integer(words[-1]) if words else None
        if words[:1] == ["left"] and number is not None:
            self.left.add(number)
        elif len(words) == 2 and number is not None and (asked := integer(words[0])) is not None:
            self._open = asked, number
        elif words:
            self.ended = words[0]
        return True

    def close(self) -> None:
        """Nothing more comes: the last answer is whole, or as whole as it will be."""
        if self._open is not None:
            number, status = self._open
            self.answers[number] = _pinged("\n".join(self._body), status)
        self._open, self._body = None, []


def read(lines: Iterable[str]) -> Sweep:
    """All of a sweep's output."""
    sweep = Sweep()
    for line in lines:
        sweep.hear(line)
    sweep.close()
    return sweep


def _pinged(text: str, status: int) -> Pinged:
    found = parse_ping(text).entries
    if found and found[0].sent is not None:
        return Pinged(found[0])
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
    return Pinged(None, "no answer in time" if status == 124 else f"exit status {status}: {last[:120]}")
