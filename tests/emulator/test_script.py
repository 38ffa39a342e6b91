from __future__ import annotations

from gemlive.emulator import Behaviour, Script, Turn
from gemlive.emulator._script import script_of


def test_without_behaviours_every_connection_works() -> None:
    assert Script().behaviour(7) == Behaviour()


def test_the_last_of_a_sequence_goes_on_for_ever() -> None:
    script = Script(connections=[Behaviour(silent_at="tcp"), Behaviour(drop_after_s=1)])
    assert [script.behaviour(number) for number in (1, 2, 3)] == [
        Behaviour(silent_at="tcp"),
        Behaviour(drop_after_s=1),
        Behaviour(drop_after_s=1),
    ]


def test_a_function_of_the_number_decides() -> None:
    script = Script(connections=lambda number: Behaviour(drop_after_s=number))
    assert script.behaviour(3).drop_after_s == 3


async def test_a_model_alone_is_a_script() -> None:
    async def model(turn: Turn) -> None:
        pass

    assert script_of(model) == Script(model=model)
    assert script_of(None) == Script()
    assert script_of(Script(model=model)) == Script(model=model)
