"""The real command as another user, as a program for `fork_server`, whose imports were root's."""

import os
import sys

from invoicedrop import cli

NOBODY = 65534


def main() -> None:
    """Become nobody, and do what the command line says."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    sys.argv[0] = "invoicedrop"
    cli.main()


if __name__ == "__main__":
    main()
