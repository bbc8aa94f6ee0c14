"""How a run can end badly: a stable code, a sentence, and what a person can do."""

from __future__ import annotations

from mycelos.wire.problems import Refusal


class RunFailure(Exception):
    """Ends the run. The texts are ours: they reach the page as they are."""

    def __init__(self, code: str, detail: str, next_step: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.next_step = next_step

    @classmethod
    def from_refusal(cls, refusal: Refusal) -> RunFailure:
        """The failure that a refusal means when it ends the run."""
        return cls(refusal.problem.code.value, refusal.problem.detail, refusal.problem.next)


def internal_failure() -> RunFailure:
    """Something that nobody foresaw. Its text stays in the process's log: it may hold what was being handled."""
    return RunFailure("internal", "Something unforeseen ended the run", "Try again, and report it if it comes back.")
