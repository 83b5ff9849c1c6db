import importlib

import numpy as np
import pytest
from aedat_files import HEADER_2, HEADER_3, aedat2_bytes, packet, write_dvs_cifar10, write_ibm, write_trial
from data_files import write_gesture_npz

from bpsta_cli.config import Preparation
from bpsta_cli.data.formats.aedat import read_aedat, read_clip
from bpsta_cli.data.sources import Clip
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError


def columns(recording):
    return [column.tolist() for column in recording]


def test_eight_big_endian_bytes_of_aedat_2_are_pixel_polarity_and_time(tmp_path):
    (tmp_path / "a.aedat").write_bytes(HEADER_2 + bytes.fromhex("00000503 00000007  00007ffe 01020304"))
    # 0x0503: bits 14-8 are 5, bits 7-1 are 1, bit 0 is 1; 0x7ffe: 127, 127, 0
    assert columns(read_aedat(tmp_path / "a.aedat")) == [[7, 0x01020304], [122, 0], [126, 0], [0, 1]]


def test_an_event_of_aedat_2_that_is_no_pixels_is_left_out(tmp_path):
    external = (0x8000).to_bytes(4, "big") + (9).to_bytes(4, "big")
    (tmp_path / "a.aedat").write_bytes(aedat2_bytes([(1, 2, 3, 1)]) + external)
    assert read_aedat(tmp_path / "a.aedat").t.tolist() == [1]


def test_a_negative_time_stamp_of_aedat_2_stays_negative(tmp_path):
    (tmp_path / "a.aedat").write_bytes(aedat2_bytes([(-1, 2, 3, 1)]))
    assert read_aedat(tmp_path / "a.aedat").t.tolist() == [-1]


def test_bits_of_aedat_3_1_are_column_row_polarity_and_31_bits_of_time(tmp_path):
    body = bytes.fromhex("0600fe00 09000000")  # 0x00fe0006: 127 << 17 | 1 << 2 | 1 << 1, not valid
    head = bytes.fromhex("0100 0100 08000000 04000000 01000000 01000000 01000000 00000000")
    (tmp_path / "a.aedat").write_bytes(HEADER_3 + head + body)
    assert columns(read_aedat(tmp_path / "a.aedat")) == [[2**31 + 9], [127], [1], [1]]


def test_packets_follow_each_other_and_those_of_other_events_are_skipped(tmp_path):
    other = packet([(5, 1, 1, 1)], kind=0)
    content = HEADER_3 + other + packet([(1, 2, 3, 0), (2, 4, 5, 1)]) + packet([]) + packet([(7, 6, 7, 1)])
    (tmp_path / "a.aedat").write_bytes(content)
    assert columns(read_aedat(tmp_path / "a.aedat")) == [[1, 2, 7], [2, 4, 6], [3, 5, 7], [0, 1, 1]]


def test_a_packet_with_unused_room_is_read_by_its_number_and_passed_by_its_capacity(tmp_path):
    content = HEADER_3 + packet([(1, 2, 3, 0)], capacity=2) + bytes(8) + packet([(7, 6, 7, 1)])
    (tmp_path / "a.aedat").write_bytes(content)
    assert read_aedat(tmp_path / "a.aedat").t.tolist() == [1, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (aedat2_bytes([(1, 2, 3, 1)])[:-1], "a multiple of 8 bytes after the header, got 7 bytes"),
        (HEADER_3 + packet([(1, 2, 3, 1)])[:-1], r"a packet of 1 events \(8 bytes\), got 7 at byte"),
        (HEADER_3 + packet([])[:-1], "a packet header of 28 bytes, got 27 at byte"),
        (HEADER_3 + b"\xff" * 28, "a packet header, got type -1"),
        (HEADER_3 + packet([(1, 2, 3, 1)], capacity=0), "a packet header, got type 1, 8 bytes an event, 1 events of 0"),
        (b"#!AER-DAT4.0\r\nxyz", "AEDAT 2.0 or 3.1, got AEDAT 4.0"),
        (b"<html>404</html>", "an AEDAT file, got a file that starts with b'<html>404</html>'"),
        (b"", "an AEDAT file"),
        (b"#!AER-DAT2.0", "events after the header, got nothing"),
        (
            HEADER_2 + b"# AEChip: eu.seebetter.ini.chips.davis.Davis346\r\n",
            "the events of a DVS128, got AEChip: eu.see",
        ),
    ],
)
def test_an_aedat_file_that_cannot_be_read_is_refused_by_name(tmp_path, content, message):
    file = tmp_path / "a.aedat"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_aedat(file)
    assert str(file) in str(caught.value)


def test_a_clip_starts_with_its_first_microsecond_and_ends_before_its_last(tmp_path):
    file = write_trial(tmp_path, "a", [(t, t, 0, 0) for t in (9, 10, 11, 19, 20)], [])
    assert read_clip(Clip(file, 10, 20)).t.tolist() == [10, 11, 19]


def test_a_clip_of_a_file_that_changed_is_read_anew(tmp_path):
    file = write_trial(tmp_path, "a", [(1, 1, 1, 1), (2, 1, 1, 1)], [])
    assert len(read_clip(Clip(file, 0, 9)).t) == 2
    write_trial(tmp_path, "a", [(1, 1, 1, 1), (2, 1, 1, 1), (3, 1, 1, 1)], [])
    assert len(read_clip(Clip(file, 0, 9)).t) == 3


@pytest.mark.parametrize("inner", [".", "DvsGesture", "extract/DvsGesture", "DVS128Gesture/extract/DvsGesture"])
def test_gestures_are_cut_from_ibms_trials_as_their_tables_say(tmp_path, inner):
    write_ibm(tmp_path / "given" / inner)
    store = prepare("dvs-gesture", Preparation(T=2, size=64), source=tmp_path / "given", data_dir=tmp_path)
    train, test = store.split("train"), store.split("test")
    assert (train.y.tolist(), test.y.tolist()) == ([0, 2, 10] * 2, [0, 2, 10])
    assert test.x.sum(axis=(1, 2, 3, 4)).tolist() == [20, 30, 45]
    assert store.manifest.split.startswith("official")


def test_ibms_trials_and_spikingjellys_layout_of_them_give_the_same_store(tmp_path):
    write_ibm(tmp_path / "ibm")
    rows = np.array([(10 * i, i % 128, (3 * i) % 128, i % 2) for i in range(100)])
    for split, users in (("train", ("user01_led", "user02_lab")), ("test", ("user24_led",))):
        for user in users:
            for label, start, stop in ((0, 0, 200), (2, 300, 600), (10, 550, 1000)):
                t, x, y, p = rows[(rows[:, 0] >= start) & (rows[:, 0] < stop)].T
                file = tmp_path / "sj" / split / str(label) / f"{user}_0.npz"
                write_gesture_npz(file, np.stack([x, y, p, t], axis=1))
    ours, theirs = (
        prepare("dvs-gesture", Preparation(T=4), source=tmp_path / name, data_dir=tmp_path / f"data-{name}")
        for name in ("ibm", "sj")
    )
    for split in ("train", "test"):
        a, b = ours.split(split), theirs.split(split)
        order = np.argsort(a.y, kind="stable"), np.argsort(b.y, kind="stable")
        np.testing.assert_array_equal(a.x[order[0]], b.x[order[1]])


@pytest.mark.parametrize(
    ("row", "got"), [("12,0,5", "12,0,5"), ("0,0,5", "0,0,5"), ("1,5,5", "1,5,5"), ("1,5", "1,5"), ("a,1,2", "a,1,2")]
)
def test_a_line_of_a_label_table_that_cannot_be_used_is_shown(tmp_path, row, got):
    write_ibm(tmp_path / "given")
    table = tmp_path / "given" / "user02_lab_labels.csv"
    table.write_text(f"class,startTime_usec,endTime_usec\n1,0,200\n{row}\n")
    with pytest.raises(DataError, match=r"class \(1 to 11\), start and a later end") as caught:
        prepare("dvs-gesture", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)
    assert caught.value.got == got
    assert str(table) in str(caught.value)


def test_a_trial_without_its_recording_or_its_table_is_named(tmp_path):
    write_ibm(tmp_path / "given")
    (tmp_path / "given" / "user24_led_labels.csv").unlink()
    with pytest.raises(DataError, match=r"expected user24_led_labels\.csv beside it"):
        prepare("dvs-gesture", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)
    (tmp_path / "given" / "user24_led.aedat").unlink()
    with pytest.raises(DataError, match=r"that it names, as user24_led\.aedat, got no such file"):
        prepare("dvs-gesture", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)


def test_a_gesture_without_events_is_named_with_its_times(tmp_path):
    write_ibm(tmp_path / "given")
    write_trial(tmp_path / "given", "user24_led", [(5, 1, 1, 1), (6, 1, 1, 1)], [(2, 1000, 2000)])
    with pytest.raises(DataError, match=r"user24_led\.aedat from 1000 to 2000 us.*an empty recording"):
        prepare("dvs-gesture", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)


def test_ibms_archive_that_was_not_unpacked_is_answered_with_how(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "DvsGesture.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"got DvsGesture\.tar\.gz, not unpacked.*Unpack DvsGesture\.tar\.gz there"):
        prepare("dvs-gesture", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)


@pytest.mark.parametrize("inner", [".", "CIFAR10DVS", "events_np", "extract"])
def test_the_first_nine_tenths_of_each_class_of_dvs_cifar10_train(tmp_path, inner):
    write_dvs_cifar10(tmp_path / "given" / inner)
    store = prepare("dvs-cifar10", Preparation(T=2, size=32), source=tmp_path / "given", data_dir=tmp_path)
    train, test = store.split("train"), store.split("test")
    assert (train.y.tolist(), test.y.tolist()) == (sorted([*range(10)] * 3), sorted([*range(10)] * 2))
    assert train.x.sum(axis=(1, 2, 3, 4))[:3].tolist() == [20, 21, 919]
    assert test.x.sum(axis=(1, 2, 3, 4))[:2].tolist() == [920, 1019]
    assert store.split_description.startswith(
        "no official split: the first 90 % of each class (recordings 0 to 899) train"
    )


def test_recordings_of_dvs_cifar10_as_aedat_and_as_npz_give_the_same_store(tmp_path):
    write_dvs_cifar10(tmp_path / "aedat")
    for file in (tmp_path / "aedat").rglob("*.aedat"):
        out = tmp_path / "npz" / "events_np" / file.parent.name / f"{file.stem}.npz"
        out.parent.mkdir(parents=True, exist_ok=True)
        np.savez(out, **read_aedat(file)._asdict())
    hashes = [
        prepare(
            "dvs-cifar10", Preparation(T=2), source=tmp_path / form, data_dir=tmp_path / f"data-{form}"
        ).content_hash
        for form in ("aedat", "npz")
    ]
    assert hashes[0] == hashes[1]


def test_tonics_aedat_4_of_dvs_cifar10_is_refused_by_name(tmp_path):
    (write_dvs_cifar10(tmp_path / "given") / "bird" / "cifar10_bird_3.aedat4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"cifar10_bird_3\.aedat4.*AEDAT 4, tonic's conversion"):
        prepare("dvs-cifar10", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)


def test_a_recording_of_dvs_cifar10_without_a_number_is_refused(tmp_path):
    (write_dvs_cifar10(tmp_path / "given") / "bird" / "mine.npz").write_bytes(b"x")
    with pytest.raises(DataError, match="a name that ends in the recording's number"):
        prepare("dvs-cifar10", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)


def test_dvs_cifar10_is_downloaded_archive_by_archive_with_its_checksums(tmp_path, monkeypatch):
    asked = {}

    def fetch(url, root, filename, md5):
        asked[filename] = (url, md5)
        write_dvs_cifar10(tmp_path / "raw" / "CIFAR10DVS") if len(asked) == 10 else None

    library = importlib.import_module("torchvision.datasets.utils")
    monkeypatch.setattr(library, "download_and_extract_archive", fetch)
    assert len(prepare("dvs-cifar10", Preparation(T=2), data_dir=tmp_path).split("test")) == 20
    assert asked["cat.zip"] == ("https://ndownloader.figshare.com/files/7712812", "52c63c677c2b15fa5146a8daf4d56687")


@pytest.mark.peers
def test_aedat_is_read_as_spikingjelly_reads_it(tmp_path):
    cifar = pytest.importorskip("spikingjelly.datasets.cifar10_dvs")
    utils = pytest.importorskip("spikingjelly.datasets.utils")
    rng = np.random.default_rng(0)
    rows = [(t, *map(int, rng.integers(0, 128, 2)), int(rng.integers(2))) for t in range(500)]
    two, three = tmp_path / "two.aedat", tmp_path / "three.aedat"
    two.write_bytes(aedat2_bytes(rows))
    three.write_bytes(HEADER_3 + packet(rows[:200]) + packet(rows[200:], overflow=1))
    for file, theirs in ((two, cifar._load_origin_data(two)), (three, utils.load_aedat_v3(three))):
        for key, column in read_aedat(file)._asdict().items():
            np.testing.assert_array_equal(column, theirs[key])


@pytest.mark.peers
def test_trials_are_cut_as_spikingjelly_cuts_them(tmp_path):
    gesture = pytest.importorskip("spikingjelly.datasets.dvs128_gesture")
    folder, out = write_ibm(tmp_path / "ibm"), tmp_path / "sj"
    for label in range(11):
        (out / str(label)).mkdir(parents=True)
    gesture._split_aedat_files_to_np("user01_led", folder / "user01_led.aedat", folder / "user01_led_labels.csv", out)
    for label, start, stop in ((0, 0, 200), (2, 300, 600), (10, 550, 1000)):
        theirs = np.load(out / str(label) / "user01_led_0.npz")
        for key, column in read_clip(Clip(folder / "user01_led.aedat", start, stop))._asdict().items():
            np.testing.assert_array_equal(column, theirs[key])
