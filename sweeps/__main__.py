"""``python -m sweeps`` is the `sweeps` command."""

import sys
from pathlib import Path

# The working folder is looked in first, where a folder called quantlab would pass for the package.
sys.path.insert(0, str(Path(__file__).parents[1]))

from sweeps.cli import main

sys.exit(main())
