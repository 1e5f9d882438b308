"""The real test tier: OpenSSH, dockerd, a registry and vLLM's CPU build on one machine.

`assets` builds what is slow once and keeps it; `nodes` raises the machines; `dress` makes
them look like Atlas A3; `conftest` hands all of it to the scenarios.
"""
