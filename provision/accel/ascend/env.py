"""The environment of a server process on Ascend, variable by variable, with the reason for each.

Numbers are strings, as in an environment. Model-specific values (HCCL_BUFFSIZE, OMP_NUM_THREADS, …) belong to the model
profiles, which name their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CONNECT_TIMEOUT = "1200"
"""``HCCL_CONNECT_TIMEOUT``, seconds, legal 120 to 7200. The default of 120 is too short where nodes load weights at
different speeds; production launchers use 1200 to 7200 [CANN manual, HCCL_CONNECT_TIMEOUT; vllm-ascend FAQ]."""

INTERFACE_VARIABLES: Mapping[str, str] = MappingProxyType(
    {"HCCL_SOCKET_IFNAME": "=", "GLOO_SOCKET_IFNAME": "", "TP_SOCKET_IFNAME": ""}
)
"""HCCL takes a bare name as a prefix (``eth1`` matches ``eth10``); ``=eth1`` is exact [CANN manual,
HCCL_SOCKET_IFNAME]. Gloo and Tensorpipe take a plain name."""


def environment(nodes: int) -> Mapping[str, str]:
    """What every cluster gets, for its operator to override."""
    return {"HCCL_CONNECT_TIMEOUT": CONNECT_TIMEOUT} if nodes > 1 else {}


def fixed_environment() -> Mapping[str, str]:
    """Empty, so that an Ascend Docker runtime on the host does not hand out devices beside our ``--device`` options
    [vllm-ascend issues 6942, 6063]."""
    return {"ASCEND_VISIBLE_DEVICES": ""}


def address_environment(address: str) -> Mapping[str, str]:
    """``HCCL_IF_IP`` outranks HCCL's own choice of a NIC, which is made node by node and so differs between nodes;
    ``VLLM_HOST_IP`` is what vLLM tells its peers."""
    return {"HCCL_IF_IP": address, "VLLM_HOST_IP": address}
