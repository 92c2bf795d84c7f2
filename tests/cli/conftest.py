import pytest

from lamina.cli import main


@pytest.fixture
def told(capsys):
    """Run the command line, expect success, and return what it printed."""

    def run(*words):
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    return run
