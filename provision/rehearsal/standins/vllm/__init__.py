"""A stand-in for vLLM on Ascend: it refuses what the real one refuses, meets its peers over real TCP, and answers HTTP.

No model runs: answers are made from the prompt. Everything else that a provisioning tool can notice is kept: the strict
command line, the order of log lines, ports and addresses, rank arithmetic, per-engine counters, and how it dies.
"""
