"""The wire corpus: recorded and invented messages in a folder outside the repository, and where its lines are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

VARIABLE = "GEMLIVE_WIRE_CORPUS"

# The files and their lines, as the two READMEs of the corpus count them. The music endpoint is left out.
SERVER = {
    "fixtures/server_setup_complete.jsonl": 3,
    "fixtures/server_content_model_turn.jsonl": 20,
    "fixtures/server_content_flags.jsonl": 14,
    "fixtures/server_content_turn_complete_reasons.jsonl": 29,
    "fixtures/server_content_transcription.jsonl": 12,
    "fixtures/server_content_grounding_url.jsonl": 4,
    "fixtures/server_tool_call.jsonl": 12,
    "fixtures/server_session_lifecycle.jsonl": 13,
    "fixtures/server_voice_activity.jsonl": 8,
    "fixtures/server_usage_metadata.jsonl": 9,
    "fixtures/server_usage_metadata_vertex.jsonl": 8,
    "fixtures/server_combined.jsonl": 8,
    "fixtures/server_error_shapes.jsonl": 3,
    "fixtures/server_documented.jsonl": 5,
    "fixtures/tolerance_probes.jsonl": 22,
    "recordings/server_real.jsonl": 120,
    "recordings/server_real_audio.jsonl": 60,
}
CLIENT = {
    "fixtures/client_setup_googleai.jsonl": 60,
    "fixtures/client_setup_vertex.jsonl": 59,
    "fixtures/client_messages_googleai.jsonl": 32,
    "fixtures/client_messages_vertex.jsonl": 33,
    "fixtures/client_rare_fields.jsonl": 15,
    "fixtures/client_canonical_googleai.jsonl": 92,
    "fixtures/client_canonical_vertex.jsonl": 92,
    "recordings/client_real.jsonl": 49,
}
CANONICAL = [name for name in CLIENT if "canonical" in name]
OTHER = {  # no messages of the live endpoint in them, but the folder is not whole without them
    "fixtures/connect.jsonl": 10,
    "fixtures/model_name_forms.jsonl": 8,
    "fixtures/client_setup_googleai.names.txt": 60,
    "fixtures/client_setup_vertex.names.txt": 59,
    "fixtures/client_setup_rejected_by_sdk.jsonl": 7,
    "fixtures/client_messages_rejected_by_sdk.jsonl": 1,
    "fixtures/client_rare_rejected_by_sdk.jsonl": 5,
    "fixtures/auth_token_rest.jsonl": 7,
    "fixtures/close_frames.jsonl": 35,
}
SESSIONS = "recordings/sessions"
SESSION_FILES, SESSION_LINES = 40, 517

IN, OUT = f"{SESSIONS}:in", f"{SESSIONS}:out"  # the session files as one source each way


class Line(NamedTuple):
    """One message of the corpus."""

    where: str  # file and line number, for the message of a failed assertion
    message: Any  # parsed by the standard library, not by what is under test

    @property
    def frame(self) -> bytes:
        """The message as a frame."""
        return json.dumps(self.message).encode()


def folder() -> Path:
    """Returns the corpus, or skips the test, saying why."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} is not set; it names the folder with the wire corpus (fixtures/ and recordings/)")
    return Path(named)


def read(source: str) -> Iterator[Line]:
    """Yields the messages of one file, or of all sessions in one direction."""
    if source in (IN, OUT):
        for file in sorted((folder() / SESSIONS).glob("*.jsonl")):
            for line in _lines(file):
                if line.message["dir"] == source.rpartition(":")[2]:
                    yield line._replace(message=line.message["msg"])
        return
    for line in _lines(folder() / source):
        yield line._replace(message=line.message["message"]) if "client_rare" in source else line


def count(file: Path) -> int:
    """Returns how many lines a file has; a missing one fails the test that asks."""
    return len(file.read_text(encoding="utf-8").splitlines())


def _lines(file: Path) -> Iterator[Line]:
    with file.open(encoding="utf-8") as lines:
        for number, text in enumerate(lines, start=1):
            yield Line(f"{file.name}:{number}", json.loads(text))
