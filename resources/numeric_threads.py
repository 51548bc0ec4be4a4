"""One numeric thread per process: work is spread over processes, and sums in one order give the same numbers anywhere.

OpenMP and the BLAS libraries read these variables once, when they are loaded; so they are set before numpy is imported.
"""

import os

VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
)  # fmt: skip


def limit_numeric_threads() -> None:
    """One thread, in this process and those it starts, unless the environment asks for another number."""
    for name in VARIABLES:
        os.environ.setdefault(name, "1")
