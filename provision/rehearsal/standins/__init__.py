"""Commands of a rehearsal node: small programs that keep the rules of the real ones, on files.

Each runs as a process of its own, often, so they import little and no more than they need.
"""
