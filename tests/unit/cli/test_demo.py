from __future__ import annotations

import pytest

from mycelos.cli import demo


@pytest.mark.parametrize(("words", "keep"), [((), False), (("--keep",), True)])
def test_the_tours_end_is_the_commands_end(mycelos, monkeypatch, words, keep) -> None:
    asked = []

    def tour(*, keep: bool) -> int:
        asked.append(keep)
        return 1

    monkeypatch.setattr(demo, "run_tour", tour)
    assert mycelos("demo", *words)[0] == 1
    assert asked == [keep]
