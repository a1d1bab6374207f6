"""The table of all faults: tries, recovered, lost requests or files, and the longest time until everything works again."""

from __future__ import annotations

from dataclasses import dataclass, field

OUTCOMES: dict[str, Outcome] = {}
"""What each fault led to; the table at the end of the run shows it."""
HEADER = f"{'fault':<52} {'tries':>6} {'recovered':>10} {'lost':>5} {'seconds':>8}"


@dataclass
class Outcome:
    """The tries of one fault."""

    tries: int = 0
    recovered: int = 0
    lost: int = 0
    seconds: list[float] = field(default_factory=list)


def record(fault: str, *, recovered: bool, lost: int, seconds: float | None = None) -> None:
    """Add one try; ``seconds`` is the time from the end of the fault until everything worked again."""
    outcome = OUTCOMES.setdefault(fault, Outcome())
    outcome.tries += 1
    outcome.recovered += recovered
    outcome.lost += lost
    if seconds is not None:
        outcome.seconds.append(seconds)


def table() -> list[str]:
    """Return the lines of the table."""
    lines = [HEADER]
    for fault, outcome in OUTCOMES.items():
        longest = f"{max(outcome.seconds):.1f}" if outcome.seconds else "-"
        lines.append(f"{fault:<52} {outcome.tries:>6} {outcome.recovered:>10} {outcome.lost:>5} {longest:>8}")
    return lines
