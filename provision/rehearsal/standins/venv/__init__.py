"""What a source install uses on a node: git, pip and virtual environments, with the real ones' rules and words."""
