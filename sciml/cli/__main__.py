"""`python -m sciml.cli`: the command, for `torchrun -m` and where scripts are not on the path."""

from __future__ import annotations

import sys

from sciml.cli import main

if __name__ == "__main__":
    sys.exit(main())
