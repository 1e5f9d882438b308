"""Agentless, multi-node provisioning of vLLM clusters on Huawei Atlas (Ascend NPU) servers."""

__version__ = "0.1.0"
