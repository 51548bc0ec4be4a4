"""Print the compiler arguments with which annoy is built: portable ones, instead of its own `-march=native`.

A build with `-march=native` dies with SIGILL on another CPU (spotify/annoy #217, #472, #613). Standard library only:
`make setup` runs this before anything is installed. The list replaces all of annoy's own arguments.
"""

import platform
import sys

COMMON = ["-O3", "-ffast-math", "-fno-associative-math", "-std=c++14", "-DANNOYLIB_MULTITHREADED_BUILD"]


def flags(machine: str) -> list[str]:
    """Arguments for a CPU architecture: AVX2 on x86-64, the architecture's baseline elsewhere."""
    return [*COMMON, "-march=x86-64-v3"] if machine in ("x86_64", "AMD64") else COMMON


if __name__ == "__main__":
    sys.stdout.write(",".join(flags(platform.machine())) + "\n")
