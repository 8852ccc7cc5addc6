"""What a recording was made for, and how config.json says it."""

import pytest

from sensorium_jax.errors import UserError
from sensorium_jax.rules import (
    FILMS,
    PICTURES,
    RELEASES,
    from_json,
    of_kind,
    own,
    validating,
    wrong,
)

FULL = own(FILMS, skip=7, validation=("test",), hidden=("secret",))
CHANGED = RELEASES["2023"]._replace(skip=0, hidden=())


@pytest.mark.parametrize(
    "rules", [*RELEASES.values(), own(FILMS), own(PICTURES), FULL, CHANGED]
)
def test_rules_come_back_from_json(rules):
    assert from_json(rules.as_json(), rules.kind, "here") == rules


def test_a_release_is_kept_by_its_name():
    assert RELEASES["2023"].as_json() == {"name": "2023"}
    assert own(FILMS).as_json() == {"name": "own", "kind": "films"}


def test_the_usual_names_validate_first_then_the_largest_tier():
    rules = own(FILMS)
    tiers = ["train"] * 9 + ["b", "b", "c"]
    assert rules.validating(tiers) == "b"
    assert rules.validating([*tiers, "val"]) == "val"
    assert rules.validating([*tiers, "validation", "oracle"]) == "oracle"
    assert rules.validating([*tiers, "oracle", "val"]) == "val"  # its name is `val`
    assert rules.may_validate([*tiers, "c", "c", "dev"]) == ["dev", "c", "b"]
    assert rules._replace(hidden=("b", "val")).validating([*tiers, "val"]) == "c"
    assert rules._replace(validation=("x", "c")).validating(tiers) == "c"
    assert rules._replace(validation=("x",)).validating(tiers) is None
    assert rules.validating(["train", "none"]) is None
    assert RELEASES["2023"].validating(["train", "validation"]) is None


@pytest.mark.parametrize(
    ("mice", "tier"),
    [
        ([("aab", ()), ("bba", ())], "a"),  # as many of both: the first named
        ([("aab", ()), ("bbba", ())], "b"),
        ([("ab", ()), ("ac", ())], "a"),
        ([("bba", ()), ("ac", ())], "a"),  # not what the first alone would take
        ([("ab", "b"), ("ab", ())], "b"),
        ([("ab", "ab"), ("ab", "ba")], "a"),
        ([("ab", "a"), ("ab", "b")], None),
        ([("ab", "a"), ("b", ())], None),
        ([("ab", ()), ("", ())], None),
    ],
)
def test_one_tier_validates_in_all_mice(mice, tier):
    each = [
        (own(FILMS, validation=tuple(names)), ["train", *tiers])
        for tiers, names in mice
    ]
    assert validating(each) == tier
    assert validating(each[:1]) == each[0][0].validating(each[0][1])


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ("2023", "rules are '2023'"),
        ({"skipp": 3}, "the field 'skipp'. Did you mean 'skip'?"),
        ({"name": "2032"}, "the name '2032'"),
        ({"name": ["own"]}, "the name"),
        ({"name": "2022"}, "for 'pictures', the recordings are films"),
        ({"kind": "pictures"}, "for 'pictures', the recordings are films"),
        ({"skip": -1}, "skip is -1"),
        ({"skip": True}, "skip is True"),
        ({"skip": 2.5}, "skip is 2.5"),
        ({"validation": "test"}, "validation is 'test', not a list"),
        ({"hidden": [3]}, "hidden is [3], not a list"),
        ({"validation": ["train"]}, "validation holds 'train'"),
        ({"tiers": ["test"]}, "without 'train'"),
        ({"tiers": ["train"], "hidden": ["test"]}, "not among the tiers"),
    ],
)
def test_malformed_rules_are_named(plain, words):
    with pytest.raises(UserError) as caught:
        from_json(plain, FILMS, "mouse/config.json")
    said = str(caught.value)
    assert said.startswith("mouse/config.json: ") and words in said
    assert "Expected rules such as" in said and "\n" not in said


def test_a_picture_has_no_frame_to_skip():
    assert "one frame" in wrong({"skip": 1}, PICTURES)
    assert not wrong({"skip": 1}, FILMS)


def test_rules_by_name_fit_the_kind():
    assert of_kind(FILMS) == of_kind(FILMS, "2023") == RELEASES["2023"]
    assert of_kind(PICTURES, "own") == own(PICTURES)
    with pytest.raises(UserError, match="are for films, the recordings are pictures"):
        of_kind(PICTURES, "2023")
    with pytest.raises(UserError, match="Unknown rules 'mine'"):
        of_kind(FILMS, "mine")
