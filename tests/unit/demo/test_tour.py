from __future__ import annotations

import pytest

from mycelos.demo.tour import Tour, TourError


@pytest.fixture
def tour(short_directory):
    said: list[str] = []
    made = Tour(short_directory / "data", {"api": "127.0.0.1:1", "thief": "127.0.0.1:2"}, "token", said.append)
    return made, said


def test_a_command_is_shown_with_what_it_printed(tour):
    made, said = tour
    printed = made.show("init")
    assert said == ["\n$ mycelos init", printed.rstrip()]
    assert "master key: new" in printed


def test_nothing_of_it_is_left_in_the_person_s_state_folder(tour, short_directory):
    made, _ = tour
    assert made._environment["XDG_STATE_HOME"] == str(short_directory / "state")


def test_a_command_that_fails_ends_the_tour_with_its_name(tour):
    made, _ = tour
    with pytest.raises(TourError, match=r"mycelos status ended with 1.*not running"):
        made.show("status")


def test_a_system_that_does_not_start_ends_the_tour_with_its_log(tour):
    made, _ = tour
    # Without init there is neither key nor token.
    with pytest.raises(TourError, match="mycelos init"), made.serve():
        pytest.fail("it cannot be up")
