"""A run is trained for more epochs as if it had been begun with them; where that cannot be, nothing is touched."""

import pytest
from training_runs import CPU, assert_same_run, contents, run, until

from bpsta_cli.errors import BpstaWarning, RunError
from bpsta_cli.training import EpochDone, extension, train
from bpsta_cli.training.checkpoint_files import Checkpoints
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir

SGDR = {"schedule": "sgdr", "sgdr_period": 2, "lr_warmup_epochs": 1}


@pytest.fixture
def of_epochs(settings):
    return lambda epochs, **training: settings(data={"epochs": epochs}, training={**SGDR, **training})


@pytest.mark.parametrize("selection", ["final", "test"])
def test_a_finished_run_with_its_state_goes_on_and_is_the_same_as_one_that_was_begun_longer(
    of_epochs, digits, tmp_path, selection
):
    whole, _ = run(of_epochs(5, selection=selection), digits, tmp_path / "whole")
    run(of_epochs(3, selection=selection), digits, tmp_path / "run", keep_state=True)
    longer, events = run(of_epochs(5, selection=selection), digits, tmp_path / "run", resume=True)
    assert [event.record["epoch"] for event in events if isinstance(event, EpochDone)] == [3, 4]
    assert_same_run(whole.path, longer.path)


@pytest.mark.parametrize(("kind", "count"), [(StepDone, 4), (EpochDone, 2)])
def test_an_unfinished_run_goes_on_for_longer(of_epochs, digits, tmp_path, kind, count):
    whole, _ = run(of_epochs(5), digits, tmp_path / "whole")
    until(train(of_epochs(3), digits, tmp_path / "run", device=CPU, checkpoint_minutes=0), kind, count)
    longer, _ = run(of_epochs(5), digits, tmp_path / "run", resume=True)
    assert_same_run(whole.path, longer.path)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("after", ["write", "remove_result"])
def test_killed_while_it_is_extended_the_same_call_again_goes_on(
    of_epochs, digits, tmp_path, monkeypatch, after, finished
):
    class KilledError(Exception):
        pass

    whole, _ = run(of_epochs(5), digits, tmp_path / "whole")
    first = train(of_epochs(3), digits, tmp_path / "run", device=CPU, keep_state=True)
    list(first) if finished else until(first, EpochDone, 2)

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        if after == "write":
            patch.setattr(RunDir, "remove_result", killed)
        else:
            patch.setattr(extension.files, "write_text", killed)
        with pytest.raises(KilledError):
            run(of_epochs(5), digits, tmp_path / "run", resume=True)
    longer, _ = run(of_epochs(5), digits, tmp_path / "run", resume=True)
    assert_same_run(whole.path, longer.path)


@pytest.mark.parametrize(
    ("training", "keep", "why"),
    [
        ({"schedule": "cosine"}, True, "got training.schedule cosine, which ends at epoch 3"),
        ({"evaluate_every": 2}, True, "got training.evaluate_every 2, by which epoch 3 is not evaluated"),
        ({}, False, "expected its training state, which a run that ended with --keep-state has"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_both_values_and_left_as_it_is(
    of_epochs, digits, tmp_path, training, keep, why
):
    done, _ = run(of_epochs(3, **training), digits, tmp_path / "run", keep_state=keep)
    before = contents(done.path)
    with pytest.raises(RunError, match=r"data\.epochs 3 there and 5 asked for") as refused:
        run(of_epochs(5, **training), digits, tmp_path / "run", resume=True)
    assert why in str(refused.value)
    assert contents(done.path) == before


def test_a_rise_of_the_learning_rate_that_follows_from_the_epochs_hinders(of_epochs):
    short, longer = (of_epochs(epochs, lr_warmup_epochs=None) for epochs in (19, 20))
    assert extension.hindrance(short, longer) == ("training.lr_warmup_epochs none, which is 1 of 19 epochs and 2 of 20")


def test_without_resume_a_longer_run_is_another_run(of_epochs, digits, tmp_path):
    run(of_epochs(3), digits, tmp_path / "run", keep_state=True)
    with pytest.raises(RunError, match=r"with another setting of data.epochs \(3 there, 5 asked for\)"):
        run(of_epochs(5), digits, tmp_path / "run")


def test_the_kept_state_is_one_checkpoint_and_goes_with_the_run(of_epochs, digits, tmp_path):
    done, _ = run(of_epochs(3), digits, tmp_path / "run", keep_state=True)
    assert [file.name for file in (done.path / "state").iterdir()] == ["epoch-000003-step-000000000.safetensors"]
    assert not (done.path / "checkpoints").exists()
    assert run(of_epochs(3), digits, done.path)[1] == []
    assert (done.path / "state").exists()
    run(of_epochs(3), digits, done.path, overwrite=True)
    assert not (done.path / "state").exists()


@pytest.mark.parametrize("step", ["move_to", "clear"])
def test_killed_just_after_the_result_the_same_call_keeps_the_state_that_was_asked_for(
    of_epochs, digits, tmp_path, monkeypatch, step
):
    class KilledError(Exception):
        pass

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, step, killed)
        with pytest.raises(KilledError):
            run(of_epochs(3), digits, tmp_path / "run", keep_state=True)
    assert RunDir(tmp_path / "run").finished
    done, events = run(of_epochs(3), digits, tmp_path / "run", keep_state=True)
    assert events == []
    assert [file.name for file in (done.path / "state").iterdir()] == ["epoch-000003-step-000000000.safetensors"]
    assert not (done.path / "checkpoints").exists()


def test_a_damaged_state_that_is_passed_over_is_told(of_epochs, digits, tmp_path):
    until(train(of_epochs(3), digits, tmp_path / "run", device=CPU), EpochDone, 2)
    newest, _before = RunDir(tmp_path / "run").checkpoints.files()
    newest.write_bytes(b"damaged")
    with pytest.warns(BpstaWarning, match="epoch-000002.* cannot be used"):
        longer, _ = run(of_epochs(5), digits, tmp_path / "run", resume=True)
    assert longer.finished
