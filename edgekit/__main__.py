"""``python -m edgekit``: the command line, where no console script is on the path."""

import sys

from edgekit.cli import main

sys.exit(main())
