"""``python -m provision`` is ``qnext-provision``."""

from provision.cli.main import main

main()
