from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from provision.facts.proxy import Proxy, ProxySource
from provision.results import Result

CONFIG = """{
  "auths": {"quay.io": {"auth": "c2VjcmV0"}},
  "proxies": {"default": {
    "httpProxy": "http://me:secret@proxy:3128", "httpsProxy": "", "noProxy": "localhost,.local 10.0.0.1"
  }}
}
"""


def test_proxies_are_found_and_passwords_stay_on_the_node(look: Any, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(CONFIG)
    value = look(Proxy(), http_proxy="http://me:secret@proxy:3128", no_proxy="")
    assert "secret" not in repr(value)
    assert value.of("shell") == (ProxySource("shell", "", {"httpProxy": "http://proxy:3128"}),)
    assert value.proxies == {"httpProxy": "http://proxy:3128", "noProxy": "localhost,.local 10.0.0.1"}
    assert value.exempt == ("localhost", ".local", "10.0.0.1")
    assert value.file == str(tmp_path / ".docker" / "config.json")


def test_without_a_configuration_there_is_none(look: Any) -> None:
    value = look(Proxy())
    assert (value.proxies, value.file, value.of("shell"), value.problems) == ({}, "", (), ())


ANSWER = """\
@@ daemon.json
"http-proxy": "http://proxy:3128"
"no-proxy": "localhost"
@@ files
/etc/systemd/system/docker.service.d/proxy.conf:HTTP_PROXY=http://proxy:3128
/etc/systemd/system/docker.service.d/proxy.conf:NO_PROXY=localhost,10.0.0.0/8
/etc/environment:https_proxy="http://proxy:3128
/etc/environment:ftp_proxy=http://proxy:3128
/etc/profile.d/proxy.sh:http_proxy=
garbage
@@ shell
HTTPS_PROXY=http://proxy:3128
"""


def test_where_else_proxies_are_set() -> None:
    value = Proxy().parse(Result("proxy", 0, ANSWER))
    dropin = "/etc/systemd/system/docker.service.d/proxy.conf"
    assert value.of("daemon") == (
        ProxySource("daemon", "/etc/docker/daemon.json", {"httpProxy": "http://proxy:3128", "noProxy": "localhost"}),
        ProxySource("daemon", dropin, {"httpProxy": "http://proxy:3128", "noProxy": "localhost,10.0.0.0/8"}),
    )
    assert value.of("login") == (ProxySource("login", "/etc/environment", {"httpsProxy": "http://proxy:3128"}),)
    assert value.of("shell") == (ProxySource("shell", "", {"httpsProxy": "http://proxy:3128"}),)
    assert (value.proxies, value.file) == ({}, "")


def test_assignments_in_files_are_found_and_comments_are_not(look: Any, tmp_path: Path) -> None:
    """The script's own awk program on a file as it's found in practice."""
    program = Proxy().script().partition("awk '")[2].partition('}\' "$@"')[0] + "}"
    file = tmp_path / "proxy.conf"
    file.write_text(
        "# export http_proxy=http://old:1\n[Service]\n"
        'Environment="TOKEN=abc" "HTTP_PROXY=http://u:p@proxy:3128/" "NO_PROXY=localhost,.example,10.0.0.0/8"\n'
        "export https_proxy='http://proxy:3128'; export all_proxy=socks5://u:p@proxy:1080\n"
    )
    done = subprocess.run(["awk", program, str(file)], capture_output=True, text=True, check=True)
    assert [line.removeprefix(f"{file}:") for line in done.stdout.splitlines()] == [
        "HTTP_PROXY=http://proxy:3128/",
        "NO_PROXY=localhost,.example,10.0.0.0/8",
        "https_proxy='http://proxy:3128",
        "all_proxy=socks5://proxy:1080",
    ]


def test_a_probe_that_hung_says_so() -> None:
    assert Proxy().parse(Result("proxy", 124, "", seconds=10, timed_out=True)).problems
