"""Which model belongs to which family, what the table says, and how a user corrects it."""

from __future__ import annotations

import contextlib
import math
import re
import tempfile
import tomllib
from importlib import resources
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlive.errors import ConfigError
from gemlive.families import UNKNOWN, Family, family_for, load_families

TABLE = (resources.files("gemlive") / "families.toml").read_text(encoding="utf-8")
PAGE = Path(__file__).parents[1] / "docs" / "protocol.md"


def named(name: str, families: tuple[Family, ...] | None = None) -> Family:
    return next(family for family in families or load_families() if family.name == name)


# --- which model is of which family -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "family"),
    [
        # Every model of the recordings.
        ("gemini-2.0-flash-live-preview-04-09", "half-cascade"),
        ("gemini-live-2.5-flash-preview", "half-cascade"),
        ("gemini-live-2.5-flash", "half-cascade"),
        ("gemini-live-2.5-flash-native-audio", "2.5"),
        ("gemini-2.5-flash-native-audio-latest", "2.5"),
        ("gemini-2.5-flash-native-audio-preview-09-2025", "2.5"),
        ("gemini-3.1-flash-live-preview", "3.1"),
        # Names from the documentation.
        ("gemini-live-2.5-flash-preview-native-audio-09-2025", "2.5"),
        ("gemini-2.5-flash-preview-native-audio-dialog", "2.5"),
        ("gemini-2.0-flash-live-001", "half-cascade"),
        ("gemini-3.8-live", "3.8"),
        ("gemini-3.8-live-extended-thinking", "3.8-extended-thinking"),
        ("gemini-3.5-transcribe-live", "3.5-transcribe"),
        ("gemini-3.5-transcribe-live-preview", "3.5-transcribe"),
        # Later versions of what is known, and what is not known.
        ("gemini-3.8-live-preview-11-2026", "3.8"),
        ("gemini-3.8-live-extended-thinking-002", "3.8-extended-thinking"),
        ("gemini-3.5-live-translate-preview", UNKNOWN),
        ("gemini-4-live", UNKNOWN),
        ("my-tune", UNKNOWN),
        ("", UNKNOWN),
        ("models/", UNKNOWN),
    ],
)
def test_a_model_is_of_a_family(model: str, family: str) -> None:
    assert family_for(model).name == family


@pytest.mark.parametrize(
    "model",
    [
        "gemini-3.8-live",
        "models/gemini-3.8-live",
        "publishers/google/models/gemini-3.8-live",
        "projects/p/locations/us-central1/publishers/google/models/gemini-3.8-live",
        "google/gemini-3.8-live",
    ],
)
def test_every_form_of_a_models_name_gives_the_same_family(model: str) -> None:
    assert family_for(model).name == "3.8"


@given(st.text())
def test_any_name_has_a_family(model: str) -> None:
    assert isinstance(family_for(model), Family)


def test_a_table_without_unknown_falls_back_on_the_packaged_one() -> None:
    assert family_for("gemini-4-live", families=[named("3.1")]) == named(UNKNOWN)


# --- what the table says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [family.name for family in load_families()])
def test_every_packaged_family_states_every_fact_itself(name: str) -> None:
    stated = tomllib.loads(TABLE)["families"][name]
    assert set(stated) == {field.name for field in attrs.fields(Family)} - {"name"}


def test_the_packaged_families_are_these_and_the_unknown_is_last() -> None:
    assert [family.name for family in load_families()] == [
        "2.5",
        "half-cascade",
        "3.1",
        "3.8-extended-thinking",
        "3.8",
        "3.5-transcribe",
        UNKNOWN,
    ]


def test_the_sections_that_the_table_cites_are_on_the_protocol_page() -> None:
    sections = set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    comments = re.findall(r"^\w+ = .*# (\d[\d., ]*)", TABLE, flags=re.MULTILINE)
    cited = {part for comment in comments for part in re.findall(r"\d+(?:\.\d+)?", comment)}
    assert len(cited) > 10
    assert cited - sections == set()


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        ("gemini-2.5-flash-native-audio-latest", "response_modalities", ("AUDIO",)),
        ("gemini-3.1-flash-live-preview", "response_modalities", ("AUDIO",)),
        ("gemini-3.5-transcribe-live", "response_modalities", ("TEXT",)),
        ("gemini-2.0-flash-live-preview-04-09", "response_modalities", ("AUDIO", "TEXT")),
        ("gemini-2.5-flash-native-audio-latest", "thinking", "budget"),
        ("gemini-3.1-flash-live-preview", "thinking_levels", ("MINIMAL", "LOW", "MEDIUM", "HIGH")),
        ("gemini-3.8-live", "thinking", "none"),
        ("gemini-3.8-live-extended-thinking", "thinking_levels", ("LOW", "MEDIUM", "HIGH")),
        ("gemini-3.8-live", "affective_dialog", "no"),
        ("gemini-3.8-live", "proactive_audio", "always"),
        ("gemini-3.1-flash-live-preview", "proactive_audio", "no"),
        ("gemini-3.8-live-extended-thinking", "blocking", False),
        ("gemini-3.8-live", "function_behavior_default", "NON_BLOCKING"),
        ("gemini-3.1-flash-live-preview", "non_blocking", False),
        ("gemini-3.1-flash-live-preview", "scheduling", False),
        ("gemini-3.8-live", "tools", ("function_declarations", "google_search")),
        ("gemini-2.5-flash-native-audio-latest", "tools", None),
        ("gemini-3.5-transcribe-live", "tools", ()),
        ("gemini-2.5-flash-native-audio-latest", "history_config", False),
        ("gemini-3.1-flash-live-preview", "history_config", True),
        ("gemini-3.1-flash-live-preview", "client_content", "initial_history"),
        ("gemini-3.1-flash-live-preview", "text_channel", "realtime"),
        ("gemini-3.8-live-extended-thinking", "idle_signal", "interaction_status"),
        ("gemini-3.1-flash-live-preview", "unasked_resumption_updates", True),
        ("gemini-3.1-flash-live-preview", "merges_transcript", True),
        ("gemini-3.1-flash-live-preview", "tool_call_id_prefix", "fc_"),
        ("gemini-3.1-flash-live-preview", "first_audio_chunk_bytes", 2),
        ("gemini-3.5-transcribe-live", "resumption", False),
        ("gemini-3.5-transcribe-live", "speech_to_text_only", True),
        ("gemini-3.5-transcribe-live", "connection_lifetime_s", 590),
        ("gemini-3.8-live", "connection_lifetime_s", 3480),
    ],
)
def test_a_fact(model: str, field: str, value: object) -> None:
    assert getattr(family_for(model), field) == value


def test_of_an_unknown_model_nothing_is_known_to_be_wrong() -> None:
    unknown = family_for("gemini-4-live")
    assert not unknown.is_known
    assert (unknown.response_modalities, unknown.thinking_levels, unknown.tools) == ((), (), None)
    assert (unknown.thinking, unknown.client_content) == ("any", "any_time")
    assert (unknown.proactive_audio, unknown.affective_dialog) == ("opt_in", "opt_in")
    assert all(
        getattr(unknown, field)
        for field in (
            "system_instruction",
            "history_config",
            "context_update",
            "media_chunks",
            "language_code",
            "blocking",
            "non_blocking",
            "scheduling",
            "resumption",
        )
    )


# --- correcting it ----------------------------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "families.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_user_corrects_single_facts_of_a_packaged_family(tmp_path: Path) -> None:
    families = load_families(written(tmp_path, '[families."3.1"]\ntext_channel = "client_content"\ngo_away_s = 10\n'))
    assert named("3.1", families) == attrs.evolve(named("3.1"), text_channel="client_content", go_away_s=10)


def test_a_correction_does_not_hide_a_more_special_family(tmp_path: Path) -> None:
    families = load_families(written(tmp_path, '[families."3.8"]\nblocking = false\n'))
    assert [family.name for family in families] == [family.name for family in load_families()]
    assert family_for("gemini-3.8-live-extended-thinking", families=families).name == "3.8-extended-thinking"


def test_a_user_adds_a_family_which_is_matched_first_and_otherwise_as_unknown(tmp_path: Path) -> None:
    families = load_families(
        written(tmp_path, '[families.mine]\npatterns = ["gemini-3.8-live-mine"]\ntools = "all"\nresumption = false\n')
    )
    mine = family_for("models/gemini-3.8-live-mine", families=families)
    assert mine == attrs.evolve(
        named(UNKNOWN), name="mine", patterns=("gemini-3.8-live-mine",), tools=None, resumption=False
    )
    assert mine.is_known
    assert families[-1] == named(UNKNOWN)


def test_a_packaged_family_with_new_patterns_is_matched_first(tmp_path: Path) -> None:
    families = load_families(written(tmp_path, '[families."2.5"]\npatterns = ["gemini-3.1-flash-live-*"]\n'))
    assert family_for("gemini-3.1-flash-live-preview", families=families).name == "2.5"
    assert family_for("gemini-2.5-flash-native-audio-latest", families=families).name == UNKNOWN


def test_what_unknown_models_do_can_be_corrected_too(tmp_path: Path) -> None:
    families = load_families(written(tmp_path, '[families.unknown]\ntext_channel = "client_content"\n'))
    assert families[-1] == attrs.evolve(named(UNKNOWN), text_channel="client_content")
    assert len(families) == len(load_families())


def test_a_file_without_families_changes_nothing(tmp_path: Path) -> None:
    assert load_families(written(tmp_path, "# nothing yet\n")) == load_families()


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ('[families."3.1"]\nthinkin = "level"', "families.3.1.thinkin", "thinking"),
        ('[families."3.1"]\nname = "x"', "families.3.1.name", "is unknown"),
        ("[families.3.1]\nthinking = 'level'", "families.3.1", "quote names with dots"),
        ("[families.mine]\nresumption = true", "families.mine.patterns", "is missing"),
        ("[families.mine]\npatterns = []", "families.mine.patterns", "is missing"),
        ('[families.mine]\npatterns = "mine*"', "families.mine.patterns", "must be a list of non-empty strings"),
        ('[families.mine]\npatterns = [""]', "families.mine.patterns", "must be a list of non-empty strings"),
        ("[families.mine]\npatterns = [1]", "families.mine.patterns", "must be a list of non-empty strings"),
        ('[families.unknown]\npatterns = ["*"]', "families.unknown.patterns", "a name of its own"),
        ('[families."3.1"]\nthinking = "much"', "families.3.1.thinking", "'budget', 'level', 'any', 'none'"),
        ('[families."3.1"]\nblocking = 1', "families.3.1.blocking", "must be true or false, not 1"),
        ('[families."3.1"]\ntools = "some"', "families.3.1.tools", "must be a list of non-empty strings"),
        ('[families."3.1"]\nturn_coverage_default = ""', "families.3.1.turn_coverage_default", "must not be empty"),
        ('[families."3.1"]\naudio_chunk_bytes = 3', "families.3.1.audio_chunk_bytes", "2-byte samples"),
        ('[families."3.1"]\naudio_chunk_bytes = 0', "families.3.1.audio_chunk_bytes", "2-byte samples"),
        ('[families."3.1"]\ncontext_tokens = true', "families.3.1.context_tokens", "must be a whole number"),
        ('[families."3.1"]\naudio_chunk_bytes = 2.0', "families.3.1.audio_chunk_bytes", "must be a whole number"),
        ('[families."3.1"]\ngo_away_s = "60"', "families.3.1.go_away_s", "must be a number, not '60'"),
        ('[families."3.1"]\ngo_away_s = true', "families.3.1.go_away_s", "must be a number, not True"),
        ('[families."3.1"]\ngo_away_s = nan', "families.3.1.go_away_s", "must be 0 seconds or more, not nan"),
        ('[families."3.1"]\ngo_away_s = -1', "families.3.1.go_away_s", "must be 0 seconds or more, not -1"),
        ('[families."3.1"]\nconnection_lifetime_s = 0', "families.3.1.connection_lifetime_s", "above 0 seconds"),
        ('[families."3.1"]\nconnection_lifetime_s = nan', "families.3.1.connection_lifetime_s", "above 0 seconds"),
        ('[families."3.1"]\ncontext_tokens = 0', "families.3.1.context_tokens", "at least 1 token"),
        ('[profiles]\nx = "y"', "profiles", "at the top"),
        ("families = 3", "families", "must be a table"),
        ("[families]\nmine = 3", "families.mine", "must be a table of facts, not 3"),
        ("[families", "families", "not valid TOML"),
    ],
)
def test_a_wrong_file_names_the_field_and_the_remedy(tmp_path: Path, text: str, field: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_families(written(tmp_path, text))
    assert caught.value.field.startswith(field)
    assert says in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read from .*nowhere\.toml"):
        load_families(tmp_path / "nowhere.toml")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read from"):
        load_families(tmp_path)


def test_a_file_nested_too_deep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_families(written(tmp_path, f"x = {'[' * 100_000}"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "families.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_families(str(tmp_path / "families.toml"))


def test_a_change_in_code_is_checked_like_one_in_a_file() -> None:
    with pytest.raises(ConfigError, match=r"families\.3\.8\.thinking: must be one of"):
        attrs.evolve(named("3.8"), thinking="sometimes")  # type: ignore[arg-type]


def test_a_connection_may_last_for_ever() -> None:
    assert attrs.evolve(named("3.8"), connection_lifetime_s=math.inf).connection_lifetime_s == math.inf


FIELDS = st.sampled_from([*(field.name for field in attrs.fields(Family)), "nonsense", "name"])
VALUES = st.sampled_from(
    ["true", "0", "-2", "1e400", "nan", '""', '"all"', '"none"', "[]", '["a"]', "[1]", "{}", "1979-05-27", "[[]]"]
)


TABLES = st.builds('[families."{}"]\n{} = {}'.format, st.sampled_from(["3.1", "x"]), FIELDS, VALUES)


@given(st.one_of(st.text(), TABLES))
@settings(deadline=None)
def test_any_file_gives_families_or_says_what_is_wrong(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "families.toml")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(ConfigError):
            assert load_families(path)[-1].name == UNKNOWN
