"""The command line: what is asked, what is refused, and what the shell is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gemlive.cli import main
from tests.cli import program

COMMANDS = ("demo", "chat", "say", "serve")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GEMLIVE_LOG", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_command_one_sees_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"gemlive {command} --" in out or f"gemlive {command} question.wav --" in out
    assert "Example" in out
    assert "--json" in out


def test_the_version_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["dmo"], 'Did you mean "demo"'),
        (["demo", "--outt", "x"], "Did you mean --out"),
        (["demo", "--out"], "--out requires an argument"),
        (["demo", "surplus"], "surplus"),
        (["say"], "FILE requires an argument"),
        (["serve", "--port", "many"], "many"),
        (["serve", "--port", "65536"], "--port is 65536"),
        (["chat", "--text", "--audio"], "--audio"),
        (["chat", "--timeout", "0", "--url", "ws://127.0.0.1:1"], "--timeout is 0"),
        (["chat", "--timeout", "nan", "--url", "ws://127.0.0.1:1"], "--timeout is nan"),
        (["chat"], "GEMINI_API_KEY"),
        (["chat", "--url", "ws://example.com"], "--url: "),
        (["chat", "--url", "ws://127.0.0.1:1", "--voice", ""], "voice: "),
        (["chat", "--url", "ws://127.0.0.1:1", "--model", "../x"], "model: "),
        (["say", "nowhere.wav", "--url", "ws://127.0.0.1:1"], "nowhere.wav: No such file"),
        (["say", "pyproject.toml", "--url", "ws://127.0.0.1:1"], "pyproject.toml: "),
        (["demo", "--out", "no/such/place.wav"], "there is no directory no/such"),
    ],
    ids=" ".join,
)
def test_misuse_is_one_sentence_and_2(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_what_one_typed_is_harmless_when_it_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_log_level_that_is_none_is_misuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEMLIVE_LOG", "loud")
    assert main(["--version"]) == 2
    assert "GEMLIVE_LOG is 'loud'" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--url", "ws://127.0.0.1:1"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "gemlive serve" in captured.err


@pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["--version"], ["dmo"]])
def test_nothing_heavy_is_loaded_to_answer_at_once(argv: list[str]) -> None:
    source = (
        f"import sys; from gemlive.cli import main; main({argv!r})\n"
        "print(*[name for name in ('numpy', 'google.auth', 'requests') if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=program.ROOT)
    assert ran.stderr.splitlines()[-1] == ""


def test_without_its_extra_the_program_says_how_to_install_it() -> None:
    # None in sys.modules is how Python is told that a module does not exist.
    source = "import sys; sys.modules['cyclopts'] = None; from gemlive.cli import main; sys.exit(main(['--help']))"
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, cwd=program.ROOT)
    assert ran.returncode == 2
    assert ran.stderr == (
        "error: the program needs an extra of the library; install it with: pip install 'gemlive[cli]'\n"
    )


@pytest.mark.socket
@pytest.mark.parametrize("argv", [["--help"], ["demo", "--no-pace"], ["demo", "--no-pace", "--json"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_trouble(argv: list[str]) -> None:
    with program.started(*argv) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(program.PATIENCE_S) in (0, 1)
    assert errors == ""
