from __future__ import annotations

from pathlib import Path
from typing import Any

from provision.facts.proxy import Proxy, ProxyValue
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
    value = look(Proxy())
    assert value.proxies == {"httpProxy": "http://proxy:3128", "noProxy": "localhost,.local 10.0.0.1"}
    assert value.exempt == ("localhost", ".local", "10.0.0.1")
    assert value.file == str(tmp_path / ".docker" / "config.json")


def test_without_a_configuration_there_is_none(look: Any) -> None:
    assert look(Proxy()) == ProxyValue()


def test_a_probe_that_hung_says_so() -> None:
    assert Proxy().parse(Result("proxy", 124, "", seconds=10, timed_out=True)).problems
