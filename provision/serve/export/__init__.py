"""A cluster as files for other tools: so that nobody must stay with this one.

Each format is a file here with ``files(launch, settings)``, pure: the plan and the settings of its nodes, by name, make
the same files to the byte.
"""
