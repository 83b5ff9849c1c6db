"""Damage of a run's files is seen: what is damaged is refused, or the checkpoint before it is gone back to."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load, save
from training_runs import CPU, assert_same_run, run, until

from bpsta_cli import checksums, reading
from bpsta_cli.errors import BpstaWarning, RunError
from bpsta_cli.files import write_checked_json, write_json
from bpsta_cli.training import Begun, EpochDone, tensor_files, train
from bpsta_cli.training.run_directory import RunDir

NETWORK = "4C3-AP4-2Voting"


@pytest.fixture(scope="module")
def of_module(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def chosen(settings):
    def make(**changes):
        return settings(data={"network": NETWORK}, **changes)

    return make


@pytest.fixture
def finished(chosen, digits, of_module, tmp_path):
    """A copy of a finished run."""
    if not (of_module / "finished").exists():
        run(chosen(), digits, of_module / "finished")
    return RunDir(shutil.copytree(of_module / "finished", tmp_path / "finished"))


@pytest.fixture
def unfinished(chosen, digits, of_module, tmp_path):
    """A copy of a run that was stopped after two of three epochs, with two checkpoints."""
    if not (of_module / "unfinished").exists():
        until(train(chosen(), digits, of_module / "unfinished", device=CPU), EpochDone, 2)
    return RunDir(shutil.copytree(of_module / "unfinished", tmp_path / "unfinished"))


def flip(file, place, bit=0):
    content = bytearray(file.read_bytes())
    content[place if place < 1 else int(place)] ^= 1 << bit
    file.write_bytes(content)


def places(file):
    """Places all over a file: its length, its header, its numbers, its end."""
    size = file.stat().st_size
    return [0, 3, 9, *(size * part // 12 for part in range(1, 12)), size - 1]


@pytest.mark.parametrize("name", ["settings.json", "metrics.json", "model.safetensors"])
def test_a_flipped_bit_in_a_finished_runs_file_is_refused_when_it_is_used_and_when_it_is_trained_again(
    finished, chosen, digits, name
):
    file = finished.path / name
    for place in places(file):
        flip(file, place, bit=place % 8)
        with pytest.raises(RunError):
            RunDir(finished.path).network()
        with pytest.raises(RunError):
            next(train(chosen(), digits, finished.path, device=CPU))
        flip(file, place, bit=place % 8)
    assert finished.network()[1] is not None


def test_a_flipped_bit_in_the_history_is_seen_before_the_run_passes_for_finished(finished, chosen, digits):
    flip(finished.path / "history.csv", 40)
    with pytest.raises(RunError, match=r"damaged run.*history\.csv"):
        next(train(chosen(), digits, finished.path, device=CPU))


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.999])
def test_a_truncated_checkpoint_is_passed_over_and_the_one_before_it_gone_back_to(
    unfinished, chosen, digits, finished, part
):
    newest = unfinished.checkpoints.files()[0]
    newest.write_bytes(newest.read_bytes()[: int(part * newest.stat().st_size)])
    _, events = run(chosen(), digits, unfinished.path)
    assert (events[0].epoch, len(events[0].warnings)) == (1, 1)
    assert newest.name in events[0].warnings[0]
    assert "The run goes on from the one before it." in events[0].warnings[0]
    assert_same_run(finished.path, unfinished.path)


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_seen(unfinished, chosen, digits):
    newest = unfinished.checkpoints.files()[0]
    for place in places(newest):
        flip(newest, place, bit=place % 8)
        begun = next(train(chosen(), digits, unfinished.path, device=CPU))
        assert (begun.epoch, len(begun.warnings)) == (1, 1), place
        flip(newest, place, bit=place % 8)
    begun = next(train(chosen(), digits, unfinished.path, device=CPU))
    assert (begun.epoch, begun.warnings) == (2, ())


def test_a_damaged_checkpoint_is_not_kept_in_place_of_a_good_one(unfinished, chosen, digits):
    newest, before = unfinished.checkpoints.files()
    flip(newest, 2000)
    until(train(chosen(), digits, unfinished.path, device=CPU, checkpoint_minutes=0), EpochDone, 1)
    assert before not in unfinished.checkpoints.files()
    begun = next(train(chosen(), digits, unfinished.path, device=CPU))
    assert (begun.epoch, begun.warnings) == (2, ())


def test_where_every_checkpoint_is_damaged_the_run_is_refused_or_begun_anew(unfinished, chosen, digits, finished):
    for file in unfinished.checkpoints.files():
        flip(file, 2000)
    with pytest.raises(RunError, match=r"unreadable training state.*cannot be used.*--overwrite"):
        next(train(chosen(), digits, unfinished.path, device=CPU))
    with pytest.raises(RunError, match="unreadable training state"):
        unfinished.network()
    _, events = run(chosen(), digits, unfinished.path, resume=True, overwrite=True)
    assert (events[0].epoch, "The run begins anew." in events[0].warnings[0]) == (0, True)
    assert_same_run(finished.path, unfinished.path)


def changed_state(file, change):
    """Write a checkpoint anew with a right checksum, after a change of its tensors and its state."""
    tensors, metadata = tensor_files.read(file)
    state = json.loads(metadata["state"])
    change(tensors, state)
    file.write_bytes(tensor_files.pack(tensors, {"state": json.dumps(state)}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, s: s.update(epoch=99), "epoch 99 of 3"),
        (lambda t, s: s.update(epoch=1), "epoch 1 of 3, with 2 records"),
        (lambda t, s: s.update(epoch=-1), "epoch: Input should be greater"),
        (lambda t, s: s.update(epoch="2"), "epoch: Input should be a valid integer"),
        (lambda t, s: s.pop("best"), "best: Field required"),
        (lambda t, s: s.update(more=1), "more: Extra inputs"),
        (lambda t, s: s.update(best_epoch=7), "epoch 2 of 3"),
        (lambda t, s: s["history"][0].update(epoch=5), "epoch 2 of 3"),
        (lambda t, s: s.update(scaler={"scale": 1.0}), "a loss scale with scale"),
        (lambda t, s: s.update(run="0" * 64), "it is another run's"),
        (lambda t, s: s.update(within={"step": 1}), "within.loss_sum: Field required"),
        (lambda t, s: t["network/layers.conv1.weight"].fill_(float("nan")), "a value that is not finite"),
        (lambda t, s: t["optimiser/layers.conv1.weight/exp_avg"].fill_(float("inf")), "a value that is not finite"),
        (lambda t, s: t.update({"network/layers.conv1.weight": torch.zeros(9, 9)}), r"conv1\.weight of shape \(9, 9\)"),
        (lambda t, s: t.update({"network/layers.conv1.weight": torch.zeros(4, 1, 3, 3).double()}), "type F64"),
        (lambda t, s: t.update({"network/x": torch.zeros(1)}), "network lacks or adds x"),
        (lambda t, s: t.pop("network/layers.conv1.weight"), r"network lacks or adds layers\.conv1\.weight"),
        (lambda t, s: t.pop("optimiser/layers.conv1.weight/step"), "no step of"),
        (lambda t, s: t.update({"optimiser/layers.conv1.weight/step": torch.zeros(2)}), r"step of shape \(2,\)"),
        (lambda t, s: t.update({"huge": torch.zeros(1)}), "huge of shape"),
    ],
)
def test_a_state_that_is_whole_but_cannot_be_this_runs_is_refused(unfinished, chosen, digits, change, said):
    newest, before = unfinished.checkpoints.files()
    changed_state(newest, change)
    before.unlink()
    with pytest.raises(RunError, match=said):
        next(train(chosen(), digits, unfinished.path, device=CPU))


def test_another_runs_checkpoint_is_passed_over(unfinished, chosen, digits, tmp_path):
    until(train(chosen(seed=2), digits, tmp_path / "other", device=CPU), EpochDone, 2)
    foreign, mine = RunDir(tmp_path / "other").checkpoints.files()[0], unfinished.checkpoints.files()[0]
    shutil.copy(foreign, mine)
    begun = next(train(chosen(), digits, unfinished.path, device=CPU))
    assert isinstance(begun, Begun)
    assert (begun.epoch, "another run's" in begun.warnings[0]) == (1, True)


@pytest.mark.parametrize("name", ["model.safetensors", "settings.json", "metrics.json"])
def test_another_runs_file_is_refused(finished, chosen, digits, tmp_path, name):
    other, _ = run(chosen(seed=2), digits, tmp_path / "other")
    shutil.copy(other.path / name, finished.path / name)
    with pytest.raises(RunError):
        finished.network()


def test_a_file_of_the_result_that_is_gone_is_missed(finished, chosen, digits):
    (finished.path / "history.csv").unlink()
    with pytest.raises(RunError, match=r"damaged run.*history\.csv: no such file"):
        next(train(chosen(), digits, finished.path, device=CPU))


def test_weights_of_another_run_are_no_start_where_they_are_damaged(finished, chosen, digits, tmp_path):
    flip(finished.path / "model.safetensors", -9)
    with pytest.raises(RunError, match="no usable weights"):
        next(train(chosen(init_from=str(finished.path)), digits, tmp_path / "new", device=CPU))
    assert not (tmp_path / "new").exists()


def test_a_result_of_an_older_version_is_read_and_said_to_be_unchecked(finished):
    settings, metrics = (finished.path / name for name in ("settings.json", "metrics.json"))
    write_json(settings, checksums.parse(settings.read_bytes())[0])
    old = {key: each for key, each in checksums.parse(metrics.read_bytes())[0].items() if key != "files"}
    write_json(metrics, old)
    run = RunDir(finished.path)
    assert run.network()[1] is not None
    assert run.unchecked() == ["settings.json", "history.csv", "model.safetensors"]


def test_a_run_of_this_version_has_no_unchecked_file(finished, unfinished):
    assert finished.unchecked() == unfinished.unchecked() == []


def test_an_older_versions_state_is_refused_and_never_read(unfinished, chosen, digits):
    unfinished.checkpoints.clear()
    (unfinished.path / "state.pt").write_bytes(b"a pickle")
    with pytest.raises(RunError, match=r"training state, state\.pt, which is not read.*--overwrite"):
        next(train(chosen(), digits, unfinished.path, device=CPU))
    run(chosen(), digits, unfinished.path, resume=True, overwrite=True)
    assert not (unfinished.path / "state.pt").exists()


def test_a_run_that_cannot_be_read_is_replaced_where_that_was_asked_for_and_says_so(unfinished, chosen, digits):
    settings = unfinished.path / "settings.json"
    settings.write_bytes(settings.read_bytes()[:-20])
    with pytest.warns(BpstaWarning, match=r"settings\.json.* The run begins anew\."):
        run(chosen(), digits, unfinished.path, resume=True, overwrite=True)
    assert unfinished.finished


def test_an_unfinished_run_gives_the_weights_selected_so_far(unfinished):
    _, network = unfinished.network()
    tensors, _ = tensor_files.read(unfinished.checkpoints.files()[0])
    assert network.layers.conv1.weight.equal(tensors["network/layers.conv1.weight"])


@pytest.mark.parametrize(
    "header",
    [
        (1 << 62).to_bytes(8, "little") + b"{}",
        (20).to_bytes(8, "little") + b'{"a": [[[[[[[[[[[[[[',
        (2).to_bytes(8, "little") + b"[]",
        b'\x50\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,399999999996]}}'.ljust(88),
    ],
)
def test_a_declared_size_is_held_against_the_files_before_memory_is_taken(tmp_path, header):
    (tmp_path / "file").write_bytes(header)
    with pytest.raises(checksums.DamagedError):
        tensor_files.read(tmp_path / "file")


@pytest.mark.parametrize(("length", "why"), [(3 << 30, "weights of another structure"), (1 << 40, "no usable weights")])
def test_weights_of_a_huge_other_structure_are_refused_by_their_header_or_size(finished, length, why):
    def sparse(file, length):
        shape = json.dumps({"a": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}).encode()
        with file.open("wb") as opened:
            opened.write(len(shape).to_bytes(8, "little") + shape)
            opened.truncate(8 + len(shape) + length)

    (finished.path / "metrics.json").unlink()
    sparse(finished.path / "model.safetensors", length)
    with pytest.raises(RunError, match=why):
        finished.network()


def test_weights_that_are_not_finite_are_refused(finished):
    file = finished.path / "model.safetensors"
    weights = load(file.read_bytes())
    weights["layers.conv1.bias"][1] = float("nan")
    file.write_bytes(save(weights))
    metrics, _ = checksums.parse((finished.path / "metrics.json").read_bytes())
    metrics["files"]["model.safetensors"] = reading.sha256(file)
    write_checked_json(finished.path / "metrics.json", metrics)
    with pytest.raises(RunError, match=r"layers\.conv1\.bias with a value that is not finite"):
        finished.network()
