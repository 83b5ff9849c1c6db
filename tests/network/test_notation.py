import pytest

from bpsta_cli.errors import StructureError
from bpsta_cli.network.notation import NAMED, names, parse


def tokens(structure, inputs=784, classes=10):
    return [(token.kind, *token.numbers) for token in parse(structure, inputs=inputs, classes=classes)]


def test_every_word_of_the_language_is_read():
    assert tokens("28x28x1-16C3-MP2-AP4-P5-32FC-DP-7-3Voting") == [
        ("input", 28, 28, 1),
        ("conv", 16, 3),
        ("max-pool", 2),
        ("avg-pool", 4),
        ("avg-pool", 5),
        ("fc", 32),
        ("dropout",),
        ("neurons", 7),
        ("voting", 3),
    ]


def test_a_name_stands_for_its_text():
    assert tokens("middle") == tokens(NAMED["middle"])
    assert tokens("mlp", inputs=2312, classes=11) == [("neurons", 2312), ("neurons", 800), ("neurons", 11)]
    assert tokens("cnn-stbp", classes=4)[-1] == ("neurons", 4)
    assert {"small", "middle", "large", "mlp", "cnn-stbp"} <= set(names())


@pytest.mark.parametrize(
    ("structure", "word", "place"),
    [
        ("128C3-MP2-xyz-10Voting", "xyz", "token 3, character 11"),
        ("128c3-10Voting", "128c3", "token 1, character 1"),
        ("128C3--10Voting", "", "token 2, character 7"),
        ("0C3-10Voting", "0C3", "token 1, character 1"),
        ("8C0-10Voting", "8C0", "token 1, character 1"),
        ("8C3-MP0-10Voting", "MP0", "token 2, character 5"),
        ("8C3-0Voting", "0Voting", "token 2, character 5"),
        ("8C3 -10Voting", "8C3 ", "token 1, character 1"),
        ("8C3-10Voting-", "", "token 3, character 14"),
        ("-5FC-10Voting", "", "token 1, character 1"),
        ("", "", "token 1, character 1"),
    ],
)
def test_an_unreadable_token_is_pointed_at(structure, word, place):
    with pytest.raises(StructureError) as caught:
        parse(structure, inputs=784, classes=10)
    assert caught.value.got == f"{word!r} ({place})"


def test_a_misspelt_name_is_suggested():
    with pytest.raises(StructureError) as caught:
        parse("midle", inputs=784, classes=10)
    assert caught.value.todo == "Did you mean middle?"


@pytest.mark.parametrize("last", ["MP2", "8C3", "512FC", "DP", "28x28x1"])
def test_a_structure_ends_with_an_output(last):
    with pytest.raises(StructureError, match="without an output") as caught:
        parse(f"8C3-{last}", inputs=784, classes=10)
    assert caught.value.got == f"{last!r} (token 2, character 5)"


def test_nothing_follows_the_votes():
    with pytest.raises(StructureError, match="output before the end") as caught:
        parse("8C3-10Voting-10Voting", inputs=784, classes=10)
    assert caught.value.got == "'10Voting' (token 2, character 5)"
