"""Progress bars are for people who look at a terminal."""

import sys

import pytest

from node.commands.progress import show_progress


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("uploading") as tell:
        tell(1, 2)
        tell(2, 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("uploading" in shown.err) == is_terminal
