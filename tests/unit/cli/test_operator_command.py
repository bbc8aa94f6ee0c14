import pytest

from mycelos.cli.operator_command import operator_door, wrong_usage
from mycelos.cli.output import CommandError, ExitCode
from mycelos.configuration.layout import DataLayout
from mycelos.operator.client import OperatorUnavailableError
from mycelos.operator.forms import FieldError
from mycelos.wire.problems import ProblemCode, Refusal


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (Refusal(ProblemCode.CONFLICT, "It exists.", "Rotate it."), ExitCode.FAILED, "It exists. Rotate it."),
        (Refusal(ProblemCode.INVALID_REQUEST, "No.", "Yes."), ExitCode.WRONG_USAGE, "No. Yes."),
        (OperatorUnavailableError(detail="Off.", next_step="Start."), ExitCode.FAILED, "Off. Start."),
        (FieldError(field="path_prefix", message="expected more"), ExitCode.WRONG_USAGE, "path-prefix: expected more."),
        (wrong_usage(detail="Bad.", next_step="Good."), ExitCode.WRONG_USAGE, "Bad. Good."),
    ],
)
def test_each_error_of_the_door_has_its_words_and_exit_code(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ExitCode, text: str
) -> None:
    monkeypatch.setenv("MYCELOS_DATA_DIR", str(layout.root))
    with pytest.raises(CommandError) as caught, operator_door():
        raise error
    assert (caught.value.exit_code, str(caught.value)) == (code, text)


def test_settings_that_cannot_be_used_are_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYCELOS_PROT", "1")
    with pytest.raises(CommandError, match="MYCELOS_PORT") as caught, operator_door():
        pytest.fail("the block must not begin")
    assert caught.value.exit_code is ExitCode.WRONG_USAGE
