"""The first two sentences of the report: claims borne out, contradicted and left open, and the main one in words."""

import pytest
from made_up_runs import a_run, study, two_rules

from bpsta_cli.errors import SettingsError
from bpsta_cli.reporting.claims.definition import load, read
from bpsta_cli.reporting.claims.finding import finding
from bpsta_cli.reporting.claims.lines import lines

HIGH, LOW = (0.950, 0.951, 0.952), (0.900, 0.901, 0.902)
START = "Of {} claims of the paper and the texts beside it, these runs "


def entry(name, first="bpsta", second="stbp", **more):
    """A comparison of two rules on MNIST, N-MNIST and CIFAR10 as claims.toml has it."""
    words = {"id": name, "family": "order", "claim": f"{first} is above {second}", "place": "p", "kind": "comparison"}
    text = "\n".join(f'{key} = "{value}"' for key, value in words.items())
    text += f'\nsides = [{{ method = "{first}" }}, {{ method = "{second}" }}]'
    text += '\ndatasets = ["mnist", "n-mnist", "cifar10"]\n'
    return "[[claims]]\n" + text + "".join(f"{key} = {value}\n" for key, value in more.items())


def said(*entries, runs, **more):
    return finding(lines(study(runs, **more), read("".join(entries))))


def seeds(method, accuracies, **more):
    return [a_run(method, seed, accuracy, **more) for seed, accuracy in enumerate(accuracies)]


def better(**more):
    return [*seeds("bpsta", HIGH, **more), *seeds("stbp", LOW, **more)]


def worse(**more):
    return [*seeds("bpsta", LOW, **more), *seeds("stbp", HIGH, **more)]


def test_claims_are_counted_once_over_all_data_sets():
    runs = [*better(), *two_rules(dataset="cifar10")]
    both = (entry("a"), entry("b", "stbp", "bpsta"), entry("c", "bpsa", "stbp"))
    assert said(*both, runs=runs) == (
        START.format(3) + "bear out 1, contradict 1 and leave none open on the paper's own data, and do not test 1."
    )


def test_a_claim_that_holds_on_some_data_and_fails_on_others_is_neither_borne_out_nor_contradicted():
    assert said(entry("a"), runs=[*better(), *worse(dataset="n-mnist")]) == (
        START.format(1) + "bear out none, contradict none, find 1 true on some data and false on others and leave none "
        "open on the paper's own data."
    )


def test_the_papers_own_data_go_before_stand_ins():
    runs = [*better(), *worse(dataset="digits")]
    stand_ins = {"n-mnist": "digits"}
    assert said(entry("a", main="true"), runs=runs, stand_ins=stand_ins) == (
        START.format(1) + "bear out 1, contradict none and leave none open on the paper's own data. The main one is "
        "that bpsta is above stbp: these runs bear it out on MNIST (+5.00 points)."
    )
    only = said(entry("a", main="true"), runs=runs[6:], stand_ins=stand_ins)
    assert "contradict 1 and leave none open on stand-ins for the paper's data" in only
    assert only.endswith("these runs contradict it on digits (-5.00 points).")


def test_of_one_data_set_with_two_recipes_the_other_one_is_named():
    runs = [*better(), *worse(recipe="mnist-mlp")]
    assert said(entry("a", main="true"), runs=runs).endswith(
        "these runs bear it out on MNIST (+5.00 points) and contradict it on MNIST with recipe mnist-mlp "
        "(-5.00 points)."
    )


def test_of_the_main_claim_every_data_set_is_named_with_what_came_of_it():
    runs = [*better(), *two_rules(dataset="n-mnist"), *worse(dataset="cifar10")]
    assert said(entry("a", main="true"), runs=runs).endswith(
        "The main one is that bpsta is above stbp: these runs bear it out on MNIST (+5.00 points), contradict it on "
        "CIFAR10 (-5.00 points) and leave it open on N-MNIST (+3.00 points)."
    )


def test_where_nothing_was_tested_the_sentence_says_so():
    assert said(entry("a", main="true"), entry("b"), runs=[]) == START.format(2) + "test none."
    untested = said(entry("a", "bpsa", "stbp", main="true"), entry("b"), runs=better())
    assert untested.endswith("The main one is that bpsa is above stbp: these runs do not test it.")


def test_one_claim_of_the_texts_is_the_main_one():
    assert [claim.id for claim in load() if claim.main] == ["order-both"]
    with pytest.raises(SettingsError, match="two claims are the main one: a and b"):
        read(entry("a", main="true") + entry("b", main="true"))
