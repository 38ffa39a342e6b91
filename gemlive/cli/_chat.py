"""``gemlive chat``: type to a model and read its answers.

Somebody at a terminal may type at any time, also into an answer, which that cuts short. Lines from a file or a pipe are
asked one after the other, each when the one before is answered, and the end of the last answer is the end of the chat.
"""

from __future__ import annotations

import re

import trio

from gemlive.cli._endpoint import find_endpoint, find_model, place
from gemlive.cli._exit import Failure, Misuse
from gemlive.cli._output import Line, Output
from gemlive.cli._say import check_timeout
from gemlive.cli._terminal import Terminal
from gemlive.cli._typed_lines import TypedLines
from gemlive.session import Session, open_session
from gemlive.types import (
    Event,
    Interrupted,
    Reconnected,
    SessionClosed,
    SessionConfig,
    TurnComplete,
    Usage,
    VoiceActivity,
)

HIDDEN: tuple[type[Event], ...] = (SessionClosed, TurnComplete, Usage, VoiceActivity)
"""What a person in a chat need not read after each answer."""

_COMMAND = re.compile(r"/\w*")
_HELP = "/quit or Ctrl-D ends it; //text sends text that begins with a slash"


async def chat(
    output: Output,
    *,
    url: str | None,
    model: str | None,
    voice: str | None,
    system: str | None,
    text: bool | None,
    timeout_s: float,
) -> None:
    """Holds a conversation, line by line.

    Raises:
        Misuse: an option, the environment or a command in the input is wrong.
        Failure: the model did not answer a line of a file or a pipe.
    """
    check_timeout(timeout_s)
    endpoint = find_endpoint(url)
    config = _config(find_model(model), voice=voice, system=system, text=text)
    is_typed = Terminal.look().types
    async with open_session(config, endpoint=endpoint) as session:
        where = place(endpoint)
        output.report("opened", Line("connected", f"to {where}, {config.model}"), url=where, model=config.model)
        talk = _Talk(session, output, timeout_s=timeout_s)
        if is_typed:
            output.report("help", Line("help", _HELP))
            await talk.with_a_person()
        else:
            await talk.with_a_file()


def _config(model: str, *, voice: str | None, system: str | None, text: bool | None) -> SessionConfig:
    modalities = {None: None, True: ("TEXT",), False: ("AUDIO",)}[text]
    # What is spoken can only be read as a transcript; what is written has none.
    transcription = None if text else True
    return SessionConfig(
        model=model,
        voice=voice,
        system_instruction=system,
        response_modalities=modalities,
        output_audio_transcription=transcription,
    )


class _Talk:
    """One chat in a session."""

    def __init__(self, session: Session, output: Output, *, timeout_s: float) -> None:
        self._session = session
        self._output = output
        self._timeout_s = timeout_s
        self._lines = TypedLines()
        self._turns_shown = 0
        self._shown_more = trio.Event()

    async def with_a_person(self) -> None:
        async with trio.open_nursery() as nursery:

            async def show_all() -> None:
                is_cut_short = False
                async for event in self._session:
                    self._output.show(event)
                    match event:
                        case Interrupted():
                            is_cut_short = True
                        case TurnComplete() if is_cut_short:
                            # What was typed into the answer is answered next; a prompt would stand between the two.
                            is_cut_short = False
                        case TurnComplete() | Reconnected():
                            self._output.prompt()
                self._output.report("closed", Line("closed", "the server ended the conversation"))
                nursery.cancel_scope.cancel()

            nursery.start_soon(show_all)
            self._output.prompt()
            async for line in self._lines:
                self._output.typed()
                said = self._read(line)
                if said is None:
                    break
                if not said:
                    self._output.prompt()
                    continue
                try:
                    await self._session.send_text(said)
                except trio.ClosedResourceError:
                    return  # show_all is about to say so
            nursery.cancel_scope.cancel()

    async def with_a_file(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show_all)
            async for line in self._lines:
                said = self._read(line)
                if said is None:
                    break
                if said:
                    await self._ask(said)
            # The iteration ends after the last event, which _show_all still has to say.
            await self._session.aclose()

    async def _show_all(self) -> None:
        async for event in self._session:
            self._output.show(event)
            if isinstance(event, TurnComplete):
                self._turns_shown = event.at.turn + 1
                self._shown_more.set()
                self._shown_more = trio.Event()

    async def _ask(self, text: str) -> None:
        """Sends a text, and waits until its answer is complete and shown."""
        self._output.report("asked", Line("you", text), text=text)
        last = None
        async with self._session.turn() as turn:
            try:
                await self._session.send_text(text)
            except trio.ClosedResourceError:
                raise Failure("the server ended the session before every line was answered; try again") from None
            while True:
                with trio.move_on_after(self._timeout_s) as waiting:
                    event = await anext(turn, None)
                if waiting.cancelled_caught:
                    raise Failure(f"the model said nothing for {self._timeout_s:g} s; give it longer with --timeout")
                if event is None:
                    break
                last = event
        if turn.state == "lost":
            raise Failure("the connection ended in the middle of an answer; try again")
        # The turn has a cursor of its own, which may be ahead of the one that is shown.
        while last is not None and self._turns_shown <= last.at.turn:
            await self._shown_more.wait()

    def _read(self, line: str) -> str | None:
        """Returns what to send for a line, empty for nothing; None ends the chat.

        Raises:
            Misuse: a file has a command that does not exist; a person is told instead.
        """
        line = line.strip()
        if line.startswith("//"):
            return line[1:]
        if not _COMMAND.fullmatch(line):
            return line
        if line in ("/quit", "/exit"):
            return None
        if line == "/help":
            self._output.report("help", Line("help", _HELP))
        elif Terminal.look().types:
            self._output.report("help", Line("help", f"there is no command {line}; {_HELP}"))
        else:
            raise Misuse(f"there is no command {line}; {_HELP}")
        return ""


__all__ = ["HIDDEN", "chat"]
