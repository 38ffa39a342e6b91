"""What each end of a connection means."""

from __future__ import annotations

import pytest

from gemlive.session._closes import Remedy, meaning_of, names_handle

CASES = [
    (1000, "", Remedy.RESUME),
    (1000, "The operation was cancelled.", Remedy.RESUME),
    (1006, "", Remedy.RESUME),
    (1007, "API key not valid. Please pass a valid API key.", Remedy.FATAL),
    (1007, "API key expired. Please renew the API key.", Remedy.FATAL),
    (1007, "Invalid JSON payload received. Unknown name \"x\" at 'setup': Cannot find field.", Remedy.FATAL),
    (1007, "Request contains an invalid argument.", Remedy.FATAL),
    (1007, "Precondition check failed.", Remedy.FATAL),
    (1007, "User location is not supported for the API use.", Remedy.FATAL),
    (1007, "Text output is not supported for native audio output model.", Remedy.FATAL),
    (1007, "No matching speaker voice found for name: alloy", Remedy.FATAL),
    (1007, "Invalid session handle", Remedy.FRESH),
    (1008, "Method doesn't allow unregistered callers (callers without established identity).", Remedy.FATAL),
    (1008, "models/x is not found for API version v1beta, or is not supported for bidiGenerateContent.", Remedy.FATAL),
    (1008, "Publisher Model projects/p/locations/l/publishers/google/models/m was not found", Remedy.FATAL),
    (1008, "BidiGenerateContent session not found", Remedy.FRESH),
    (1008, "Requested entity was not found.", Remedy.FRESH),
    (
        1008,
        "Connection aborted because the client failed to close the connection after receiving a GoAway signal once",
        Remedy.RESUME,
    ),
    (1008, "The operation was aborted.", Remedy.RESUME),
    (1008, "Operation is not implemented, or supported, or enabled.", Remedy.FATAL),
    (1008, "Your project has been denied access. Please contact support.", Remedy.FATAL),
    (1008, "", Remedy.FATAL),
    (1011, "Internal error encountered.", Remedy.RESUME),
    (1011, "The service is currently unavailable.", Remedy.RESUME),
    (1011, "Deadline expired before operation could complete.", Remedy.RESUME),
    (1011, "Resource has been exhausted (e.g. check quota).", Remedy.WAIT),
    (1011, "You exceeded your current quota, please check your plan and billing details.", Remedy.WAIT),
    (1011, "Your prepayment credits are depleted.", Remedy.FATAL),
    (1011, "Token has been used too many times", Remedy.NEW_TOKEN),
    (1011, "auth token has expired", Remedy.NEW_TOKEN),
    (1011, "Failed to run inference for model: go/debugonly", Remedy.RESUME),
    (4000, "something new", Remedy.RESUME),
]


@pytest.mark.parametrize(("code", "reason", "remedy"), CASES)
def test_the_text_decides_first_and_the_code_second(code: int, reason: str, remedy: Remedy) -> None:
    assert meaning_of(code, reason).remedy is remedy


def test_only_a_reason_that_names_the_handle_blames_it() -> None:
    blamed = [reason for _, reason, _ in CASES if names_handle(reason)]
    assert blamed == [
        "Invalid session handle",
        "BidiGenerateContent session not found",
        "Requested entity was not found.",
    ]


def test_every_meaning_says_what_to_do_in_a_sentence() -> None:
    causes = [cause for code, reason, _ in CASES for cause in meaning_of(code, reason).causes]
    assert all(cause.endswith(".") for cause in causes)


def test_ambiguous_reasons_have_several_causes_the_most_probable_first() -> None:
    meaning = meaning_of(1007, "Request contains an invalid argument.")
    assert len(meaning.causes) == 3
    assert meaning.cause == meaning.causes[0]
