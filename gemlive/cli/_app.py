"""The command line: which commands there are, what they take, and what ``--help`` says.

Heavy imports happen inside the commands, so that ``--help`` and a typing error are answered at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from gemlive.cli._defaults import HOST, PORT, TIMEOUT_S
from gemlive.cli._exit import MISUSE, conclude, run
from gemlive.cli._exit import say as say_on_stderr
from gemlive.cli._log import logging_to_stderr
from gemlive.cli._output import Output, OutputClosed
from gemlive.cli._terminal import Terminal, soften
from gemlive.types import Event

Flag = Annotated[bool, Parameter(negative="")]
"""An option that is there or not, without a ``--no-`` form."""

Modality = Annotated[bool | None, Parameter(name="--text", negative="--audio")]


def _version() -> str:
    try:
        return metadata.version("gemlive")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


app = App(
    name="gemlive",
    help="Talk to the Gemini Live API, or to a local server that plays its part.",
    help_epilogue=(
        "Examples, none of which needs a key:\n\n"
        "  gemlive demo --out reply.wav\n\n"
        "  gemlive serve\n\n"
        "  gemlive chat --url ws://127.0.0.1:8790\n\n"
        "Without --url the endpoint and its key come from the environment, under the names that google-genai uses: "
        "GEMINI_API_KEY or GOOGLE_API_KEY for Google AI, GOOGLE_GENAI_USE_VERTEXAI with GOOGLE_CLOUD_PROJECT for "
        "Vertex AI. GEMINI_MODEL names the model, GEMLIVE_LOG=debug shows the log, NO_COLOR wants no colours.\n\n"
        "Exit codes: 0 done, 1 failed, 2 misuse, 130 on Ctrl-C."
    ),
    help_format="plaintext",
    version=_version,
)


def start(argv: list[str]) -> int:
    """Runs what the command line asks for and returns the exit code; nothing but that comes out."""
    soften(sys.stdout)
    soften(sys.stderr)
    try:
        with logging_to_stderr(os.environ):
            return _dispatch(argv)
    except BaseException as error:
        return conclude(error)
    finally:
        _flush_stdout()


def _dispatch(argv: list[str]) -> int:
    try:
        command, arguments, _ = app.parse_args(argv, exit_on_error=False, print_error=False, help_on_error=False)
    except CycloptsError as error:
        asked = " ".join(argument for argument in argv[:1] if argument in _COMMANDS)
        say_on_stderr(f"error: {str(error).rstrip('.')}; see gemlive {asked + ' ' if asked else ''}--help")
        return MISUSE
    try:
        return int(command(*arguments.args, **arguments.kwargs) or 0)
    except BrokenPipeError:
        raise OutputClosed from None  # --help and --version write by themselves


def _flush_stdout() -> None:
    """Makes the interpreter's own flush at exit succeed, which would complain about a reader that left."""
    try:
        sys.stdout.flush()
    except (AttributeError, ValueError):
        return
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


@app.command(help_epilogue="Example: gemlive demo --out reply.wav")
def demo(*, out: Path | None = None, pace: bool = True, json: Flag = False) -> int:
    """Hold a conversation by voice with a local server; needs no key and no network.

    Args:
        out: Write the spoken reply here, as a WAV.
        pace: Send as fast as the speech is spoken (about 6 s), or at once.
        json: Print one JSON object a line, and nothing else.
    """
    from gemlive.cli._demo import demo

    return _run(partial(demo, out=out, pace=pace), json=json)


@app.command(
    help_epilogue=(
        'Examples: gemlive chat --url ws://127.0.0.1:8790\n\n          echo "Hello" | gemlive chat --text --json'
    )
)
def chat(
    *,
    url: str | None = None,
    model: str | None = None,
    voice: str | None = None,
    system: str | None = None,
    text: Modality = None,
    timeout: float = TIMEOUT_S,
    json: Flag = False,
) -> int:
    """Type to a model and read its answers; at a terminal, or line by line from a pipe.

    Args:
        url: The server, such as ws://127.0.0.1:8790; without it the environment decides.
        model: The model; without it GEMINI_MODEL, or gemini-3.8-live.
        voice: A prebuilt voice, such as Kore.
        system: What the model is told before anything else.
        text: Ask for written or for spoken answers; a spoken one is shown as its transcript.
        timeout: Seconds in which the model must say something to a line of a pipe.
        json: Print one JSON object a line, and nothing else.
    """
    from gemlive.cli._chat import HIDDEN, chat

    command = partial(chat, url=url, model=model, voice=voice, system=system, text=text, timeout_s=timeout)
    return _run(command, json=json, hidden=HIDDEN)


@app.command(help_epilogue="Example: gemlive say question.wav --url ws://127.0.0.1:8790 --out reply.wav")
def say(
    file: Path,
    /,
    *,
    url: str | None = None,
    model: str | None = None,
    voice: str | None = None,
    system: str | None = None,
    out: Path | None = None,
    pace: bool = True,
    timeout: float = TIMEOUT_S,
    json: Flag = False,
) -> int:
    """Say a recording to a model and hear its answer.

    Args:
        file: The recording: a WAV of any PCM format, rate and number of channels.
        url: The server, such as ws://127.0.0.1:8790; without it the environment decides.
        model: The model; without it GEMINI_MODEL, or gemini-3.8-live.
        voice: A prebuilt voice, such as Kore.
        system: What the model is told before anything else.
        out: Write the spoken reply here, as a WAV.
        pace: Send as fast as the speech is spoken, or at once.
        timeout: Seconds in which the model must say something once all is sent.
        json: Print one JSON object a line, and nothing else.
    """
    from gemlive.cli._say import say

    command = partial(
        say, file=file, url=url, model=model, voice=voice, system=system, out=out, pace=pace, timeout_s=timeout
    )
    return _run(command, json=json)


@app.command(help_epilogue="Example: gemlive serve --port 8790")
def serve(*, host: str = HOST, port: int = PORT, pace: bool = True, json: Flag = False) -> int:
    """Run a local server that plays the model's part, for programs in any language; Ctrl-C ends it.

    Args:
        host: The address to listen on.
        port: The port; 0 takes any that is free.
        pace: Answer as slowly as the real service does, or at once.
        json: Print one JSON object a line, and nothing else.
    """
    from gemlive.cli._serve import serve

    return _run(partial(serve, host=host, port=port, pace=pace), json=json)


_COMMANDS = ("demo", "chat", "say", "serve")


def _run(command: Callable[[Output], Awaitable[None]], *, json: bool, hidden: tuple[type[Event], ...] = ()) -> int:
    output = _output(json=json, hidden=hidden)
    code = run(partial(command, output), output)
    with contextlib.suppress(OutputClosed):
        output.close()
    return code


def _output(*, json: bool, hidden: tuple[type[Event], ...]) -> Output:
    if json:
        from gemlive.cli._json_lines import JsonLines

        return JsonLines()
    from gemlive.cli._screen import Screen

    return Screen(Terminal.look(), hidden=hidden)
