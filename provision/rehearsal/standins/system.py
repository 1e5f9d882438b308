"""Small commands whose answer is the node's, not the machine's: shell scripts, because they are called often.

Where a command's answer doesn't matter to whom it runs for, the machine's own is linked in (``REAL``).
"""

from __future__ import annotations

import os
import shutil

from provision.rehearsal.node import HERE, MARK, ME, Node
from provision.rehearsal.standins.launcher import write_executable

REAL = ["[", "arch", "awk", "b2sum", "base64", "basename", "cat", "chgrp", "chmod", "chown", "cksum", "cmp", "comm", "cp", "csplit", "cut", "dd", "diff", "dirname", "du", "echo", "egrep", "env", "expand", "expr", "factor", "false", "fgrep", "find", "flock", "fmt", "fold", "gawk", "grep", "gunzip", "gzip", "head", "install", "join", "kill", "link", "ln", "logname", "ls", "mawk", "md5sum", "mkdir", "mkfifo", "mktemp", "mv", "nice", "nl", "nohup", "numfmt", "od", "paste", "pathchk", "pr", "printenv", "printf", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "setsid", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum", "shred", "shuf", "sleep", "sort", "split", "stat", "stdbuf", "stty", "sum", "sync", "tac", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "tsort", "tty", "uniq", "unlink", "unexpand", "vdir", "wc", "xargs", "yes", "zcat", "which", "xz", "less", "clear"]
"""The machine's own programs that a node has: coreutils and what stands beside them on every server."""

_DATE = """#!/bin/sh
s=$(cat {state}/clock/skew 2>/dev/null) || exec {real} "$@"
t=$({real} +%s) n=$({real} +%N)
exec {real} -d "@$((t + s)).$n" "$@"
"""

_ID = """#!/bin/sh
u=${{{me}:-root}}
case $u in root) n=0 g=root ;; operator) n=1000 g=operator ;; sudoer) n=1001 g='sudoer sudo' ;; *) n=1002 g=$u ;; esac
case "$*" in
-u) echo $n ;; -un | -nu | -u\\ -n | -n\\ -u) echo $u ;; -g) echo $n ;; -gn) echo $u ;;
-G) echo $n ;; -Gn | -nG) echo $g ;; '') echo "uid=$n($u) gid=$n($u) groups=$n($u)" ;;
*) echo "id: extra operand" >&2; exit 1 ;;
esac
"""

_UNAME = """#!/bin/sh
s= n= r= v= m= o=
case $# in 0) set -- -s ;; esac
for w; do case $w in --*) echo "uname: unrecognized option '$w'" >&2; exit 1 ;; *) f=$f${{w#-}} ;; esac; done
case $f in *a*) f=snrvmo ;; esac
case $f in *s*) s=Linux ;; esac
case $f in *n*) n={name} ;; esac
case $f in *r*) r={kernel} ;; esac
case $f in *v*) v='#1 SMP Thu Jun 27 00:00:00 UTC 2026' ;; esac
case $f in *m* | *p* | *i*) m={arch} ;; esac
case $f in *o*) o=GNU/Linux ;; esac
set -- $s $n $r ${{v:+"$v"}} $m $o
echo "$*"
"""

_GETENT = """#!/bin/sh
case $1 in
hosts) case $2 in {name} | {address}) echo "{address}  {name}"; exit 0 ;; localhost) echo "127.0.0.1  localhost"; exit 0 ;; esac ;;
ahosts | ahostsv4) case $2 in {name}) a={address} ;; localhost) a=127.0.0.1 ;; [0-9]*) a=$2 ;; *) exit 2 ;; esac
  echo "$a  STREAM $2"; echo "$a  DGRAM  "; echo "$a  RAW    "; exit 0 ;;
passwd) grep "^${{2:-.}}:\\|^[^:]*:[^:]*:${{2:-.}}:" {root}/etc/passwd && exit 0 ;;
group) grep "^${{2:-.}}:" {root}/etc/group && exit 0 ;;
esac
exit 2
"""

_HOSTNAME = """#!/bin/sh
case $1 in '' | -s | --short | -f) echo {name} ;; -I | -i) echo '{address} ' ;; *) echo "hostname: you must be root" >&2; exit 1 ;; esac
"""

_COUNT = "#!/bin/sh\necho {cpus}\n"
_GETCONF = '#!/bin/sh\ncase $1 in _NPROCESSORS_*) echo {cpus} ;; *) exec {real} "$@" ;; esac\n'
_WHOAMI = "#!/bin/sh\necho ${{{me}:-root}}\n"
_TIMEDATECTL = """#!/bin/sh
case "$*" in
*NTPSynchronized*--value*) echo yes ;; *show*) echo 'Timezone=UTC'; echo 'NTP=yes'; echo 'NTPSynchronized=yes' ;;
*) echo '               Time zone: UTC (UTC, +0000)'; echo 'System clock synchronized: yes'; echo '              NTP service: active' ;;
esac
"""
_SYSCTL = """#!/bin/sh
n=
for w; do case $w in -n) n=1 ;; -w | -q | -e) ;; *=*) ;; *)
  f={root}/proc/sys/$(echo "$w" | tr . /)
  [ -r "$f" ] || {{ echo "sysctl: cannot stat /proc/sys/$w: No such file or directory" >&2; exit 255; }}
  [ "$n" ] && cat "$f" || echo "$w = $(cat "$f")" ;; esac; done
"""
_QUIET = "#!/bin/sh\nexit 0\n"

SCRIPTS = {
    "date": _DATE,
    "id": _ID,
    "uname": _UNAME,
    "getent": _GETENT,
    "hostname": _HOSTNAME,
    "nproc": _COUNT,
    "getconf": _GETCONF,
    "whoami": _WHOAMI,
    "timedatectl": _TIMEDATECTL,
    "sysctl": _SYSCTL,
    "logger": _QUIET,
}

KERNEL = "5.10.0-216.0.0.115.oe2203sp4.{arch}"


def write_scripts(node: Node, folder: str, *, arch: str, cpus: int) -> None:
    """Put all small commands into ``folder``."""
    for name, text in SCRIPTS.items():
        values = {"state": node.state.folder, "real": shutil.which(name) or "false", "me": ME, "name": node.name,
                  "kernel": KERNEL.format(arch=arch), "arch": arch, "address": node.address, "root": node.root,
                  "cpus": str(cpus)}  # fmt: skip
        write_executable(os.path.join(folder, name), text.format(**values))


def link_real(folder: str) -> None:
    """Link the machine's own programs; one that the machine lacks the node lacks too."""
    for name in REAL:
        found = shutil.which(name)
        target = os.path.join(folder, name)
        if found and not os.path.lexists(target):
            os.symlink(os.path.abspath(found), target)


def login_environment(node: Node, user: str) -> dict[str, str]:
    """What a session of ``user`` begins with."""
    home = f"{node.root}/root" if user == "root" else f"{node.root}/home/{user}"
    return {"PATH": node.path, "HOME": home, "USER": user, "LOGNAME": user, "SHELL": f"{node.root}/bin/sh",
            "TMPDIR": f"{node.root}/tmp", "LANG": "C.UTF-8", MARK: node.cluster_folder, HERE: node.name, ME: user}  # fmt: skip
