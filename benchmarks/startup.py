"""CPU time of `stargaze --help` and of the Python interpreter alone, best of ten each.

python benchmarks/startup.py
"""

from __future__ import annotations

import resource
import subprocess
import sys

N_RUNS = 10


def main() -> None:
    """Measure and print."""
    interpreter = min(_cpu([sys.executable, "-c", "pass"]) for _ in range(N_RUNS))
    command = min(_cpu([sys.executable, "-m", "stargaze", "--help"]) for _ in range(N_RUNS))
    print(
        f"stargaze --help: {command * 1000:.0f} ms of CPU, "
        f"{command / interpreter:.1f} × the interpreter's {interpreter * 1000:.0f} ms"
    )


def _cpu(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
