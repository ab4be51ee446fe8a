from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ssl_zoo.scans import first_look, plans
from ssl_zoo.scans.first_look import show_all
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.plans import Plan, make_plans, recounted
from ssl_zoo.scans.reader import MiscountedScan, ScanReader, open_scan
from ssl_zoo.scans.samplers import SAMPLERS, Sampler, SamplerSettings
from ssl_zoo.scans.table import Scans, read_scans
from ssl_zoo.scans.video import VideoReader
from ssl_zoo.scans.workers import processes

LOOKING = [
    SamplerSettings("diverse", frames=12),
    SamplerSettings("diverse", per_scan=4, clip_length=2),
    SamplerSettings("motion", frames=12, clip_length=2),
    SamplerSettings("motion", per_scan=3, candidate_step_s=0.1),
]


@pytest.fixture
def cohort(tmp_path, make_video) -> Scans:
    """Eight short scans, of which the third and the sixth cannot be read."""
    folder = tmp_path / "scans"
    for number in range(8):
        if number in (2, 5):
            (folder / f"s{number}.mp4").write_bytes(b"not a video")
        else:
            make_video(folder / f"s{number}.mp4", 10 + number, first=6 * number)
    return read_scans(folder)


def planned(scans: Scans, settings: SamplerSettings, **more) -> dict[str, list[int]]:
    settings.check()
    found, _ = make_plans(scans, settings, progress=False, **more)
    return {plan.scan_id: plan.indices.tolist() for plan in found}


def test_plans_come_in_the_order_of_the_table_with_the_times_of_their_frames(cohort):
    found, skipped = make_plans(cohort, SamplerSettings("random", frames=30, seed=3), progress=False)
    assert [plan.scan_id for plan in found] == ["s0", "s1", "s3", "s4", "s6", "s7"]
    assert [entry["scan"] for entry in skipped] == ["s2.mp4", "s5.mp4"]
    assert sum(len(plan.indices) for plan in found) == 30
    for plan in found:
        assert plan.reader is not None
        np.testing.assert_array_equal(plan.times, plan.reader.times[plan.indices])


def test_drawn_scans_are_nested_and_follow_the_seed(cohort):
    drawn = {
        (number, seed): set(planned(cohort, SamplerSettings(per_scan=2, scans=number, seed=seed)))
        for number in (1, 3, 5, 6)
        for seed in range(4)
    }
    for seed in range(4):
        assert [len(drawn[number, seed]) for number in (1, 3, 5, 6)] == [1, 3, 5, 6]
        assert drawn[1, seed] < drawn[3, seed] < drawn[5, seed] < drawn[6, seed]
    assert len({frozenset(drawn[3, seed]) for seed in range(4)}) > 1


def test_drawn_scans_keep_the_frames_that_they_would_have_among_all(cohort):
    every = planned(cohort, SamplerSettings("random", per_scan=4))
    some = planned(cohort, SamplerSettings("random", per_scan=4, scans=3))
    assert all(every[scan] == frames for scan, frames in some.items())


def test_another_scan_stands_in_for_one_that_cannot_be_read_and_no_more_are_opened(cohort, monkeypatch):
    opened = []
    monkeypatch.setattr(plans, "open_scan", lambda path, **more: opened.append(path) or open_scan(path, **more))
    for seed in range(6):
        opened.clear()
        found, skipped = make_plans(cohort, SamplerSettings(scans=4, seed=seed), progress=False)
        assert len(found) == 4
        assert len(opened) == 4 + len(skipped)
    assert len(planned(cohort, SamplerSettings(scans=100))) == 6


def test_scans_that_get_no_share_have_no_plan(cohort):
    found, skipped = make_plans(cohort, SamplerSettings("random", frames=4), progress=False)
    assert [len(plan.indices) for plan in found] == [1, 1, 1, 1]
    assert len(skipped) == 2


@pytest.mark.parametrize("settings", LOOKING[1:3], ids=str)
def test_looking_samplers_plan_alike_in_other_processes_and_with_their_looks_on_disk(cohort, settings, tmp_path):
    once = planned(cohort, settings)
    assert sum(map(len, once.values())) > 0
    with processes(2, len(cohort)) as mapper:
        assert planned(cohort, settings, mapper=mapper, folder=tmp_path) == once
    assert planned(cohort, settings, folder=tmp_path) == once


def test_what_was_looked_at_is_not_decoded_again(cohort, tmp_path, monkeypatch):
    settings = SamplerSettings("diverse", frames=12)
    once = planned(cohort, settings, folder=tmp_path)
    kept = sorted(tmp_path.glob("look-*.npz"))
    assert len(kept) == 6
    kept[0].write_bytes(kept[0].read_bytes()[:100])  # torn
    shown = []

    def show(reader: ScanReader, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        shown.append(reader.path)
        return show_all(reader, indices)

    assert planned(cohort, settings, folder=tmp_path, show=show) == once
    assert len(shown) == 1


def _without_odd(reader: ScanReader, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    return show_all(reader, indices[indices % 2 == 0])


def _without_s3(reader: ScanReader, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    return show_all(reader, indices[:0] if reader.path.name == "s3.mp4" else indices)


@pytest.mark.parametrize("settings", LOOKING[::2], ids=str)
def test_frames_that_are_not_shown_are_not_chosen(cohort, settings):
    single = dataclasses.replace(settings, clip_length=1)
    assert all(index % 2 == 0 for frames in planned(cohort, single, show=_without_odd).values() for index in frames)
    found, skipped = make_plans(cohort, settings, show=_without_s3, progress=False)
    assert "s3" not in {plan.scan_id for plan in found}
    assert {"scan": "s3.mp4", "reason": "shows nothing that is worth keeping"} in skipped


class _Announced(VideoReader):
    """A reader that expects three frames that are not there."""

    def _pictures(self, wanted):
        raise MiscountedScan("no frame could be decoded")


@pytest.mark.parametrize("settings", LOOKING, ids=str)
def test_a_scan_that_is_miscounted_is_counted_by_decoding_when_it_is_looked_at(cohort, settings, tmp_path, monkeypatch):
    once = planned(cohort, settings)

    def miscounted(path: Path, **more) -> ScanReader:
        reader = open_scan(path, **more)
        if path.name != "s3.mp4":
            return reader
        longer = np.concatenate([reader.times, reader.times[-1] + 0.04 * np.arange(1, 4)])
        facts = {field.name: getattr(reader, field.name) for field in dataclasses.fields(reader)}
        return _Announced(**facts | {"times": longer})

    monkeypatch.setattr(plans, "open_scan", miscounted)
    for _ in range(2):  # the second time from the looks on disk
        found, _ = make_plans(cohort, settings, folder=tmp_path, progress=False)
        assert {plan.scan_id: plan.indices.tolist() for plan in found} == once
        assert {len(plan.reader or ()) for plan in found if plan.scan_id == "s3"} <= {13}


def _plan(scan: Path, indices: list[int], times: list[float]) -> Plan:
    return Plan(scan.name, scan, scan.stem, scan.stem, np.array(indices), np.array(times))


def test_a_scan_with_other_frames_than_planned_is_sampled_anew(tmp_path, make_video):
    reader = open_scan(make_video(tmp_path / "a.mp4", 20))
    plan = _plan(reader.path, [3, 30], [0.12, 1.2])
    again, times = recounted(plan, reader, SamplerSettings("uniform", per_scan=4))
    assert again.tolist() == [2, 7, 12, 17]
    np.testing.assert_array_equal(times, reader.times[again])
    shared, _ = recounted(plan, reader, SamplerSettings("random", frames=500))
    chosen, _ = recounted(plan, reader, SamplerSettings("diverse", per_scan=9))
    assert shared.tolist() == chosen.tolist() == [5, 14]
    right = _plan(reader.path, [3, 11], reader.times[[3, 11]].tolist())
    assert recounted(right, reader, SamplerSettings("diverse", per_scan=9))[0].tolist() == [3, 11]


@pytest.mark.parametrize("settings", LOOKING, ids=str)
def test_a_store_holds_what_a_looking_sampler_chooses(cohort, settings, tmp_path, number):
    store = build_store(cohort, tmp_path / "store", sampler=settings, size=96, workers=1, progress=False)
    shown = store.index.groupby("scan_id")["frame"].apply(list).to_dict()
    assert shown == planned(cohort, settings)
    first = [6 * int(scan[1:]) for scan in store.index["scan_id"]]
    assert [number(image[16:80]) for image in store.frames] == (first + store.index["frame"]).tolist()
    if settings.frames:
        assert len(store) == settings.frames
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans", "store"]


def _last(candidates, settings):
    """Law: the last frame of each scan."""
    return candidates.starts[1:] - 1


def test_a_new_sampler_is_one_function_and_one_line(cohort, tmp_path, monkeypatch):
    monkeypatch.setitem(SAMPLERS, "last", Sampler(_last))
    build = partial(build_store, cohort, tmp_path / "store", size=32, workers=1, progress=False)
    store = build(sampler=SamplerSettings("last"))
    assert store.index["frame"].tolist() == [9, 10, 12, 13, 15, 16]


def test_pictures_are_described_in_batches_of_any_size(cohort, monkeypatch):
    once = planned(cohort, LOOKING[0])
    monkeypatch.setattr(first_look, "BATCH", 3)
    assert planned(cohort, LOOKING[0]) == once
