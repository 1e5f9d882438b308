"""What tests ask servers on rehearsal nodes."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any

from tests.rehearsal.conftest import Machine, until

SUM = "What is 17*23?"
TP4 = ("--tensor-parallel-size", "4")


class Client:
    """HTTP to a server on a node."""

    def __init__(self, machine: Machine, port: int = 0) -> None:
        self._address = (machine.node.address, port or machine.port)

    def call(self, path: str, payload: object = None, token: str = "") -> tuple[int, str]:
        """Status and body; status 0 where nobody answers."""
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            body = None if payload is None else json.dumps(payload)
            connection.request("GET" if payload is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def chat(self, text: str, **more: object) -> tuple[int, Any]:
        status, body = self.call(
            "/v1/chat/completions",
            {"model": "qwen3_next", "messages": [{"role": "user", "content": text}], "temperature": 0, **more},
        )
        return status, json.loads(body) if body.startswith("{") else body

    def text(self, text: str, **more: object) -> str:
        status, body = self.chat(text, **more)
        assert status == 200, body
        return str(body["choices"][0]["message"]["content"])

    def counted(self, what: str) -> dict[int, float]:
        """A counter of the metrics by engine."""
        found = re.findall(rf'vllm:{what}_total\{{engine="(\d+)".*?\}} ([\d.]+)', self.call("/metrics")[1])
        return {int(engine): float(value) for engine, value in found}

    def generated(self) -> list[float]:
        """vllm:generation_tokens_total by engine."""
        return [value for _, value in sorted(self.counted("generation_tokens").items())]

    def wait(self) -> None:
        until(lambda: self.call("/health")[0] == 200, "the server is healthy")


def fast(*machines: Machine) -> None:
    for machine in machines:
        machine.node.state.set("vllm/start_seconds", "0.1")
        machine.node.state.set("vllm/tokens_per_second", "100000")
