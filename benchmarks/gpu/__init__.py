"""Everything that is claimed about GPUs, measured by one command in a few minutes.

    python -m benchmarks.gpu --minutes 8 --out DIR
    python -m benchmarks.gpu --device cpu --minutes 2    # the same with tiny sizes, as a rehearsal

It needs torch, numpy and the repository. Its parts, in order of worth: `right`, `floors`, `steps`,
`others` and `table`. Each measurement is written to ``DIR/gpu.json`` as soon as it is there.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where the scripts beside it find `measuring`
