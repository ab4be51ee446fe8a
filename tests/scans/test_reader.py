from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from ssl_zoo.scans.reader import UnreadableScan, open_scan

UNEVEN_MS = np.cumsum(np.random.default_rng(0).integers(10, 90, 60)).tolist()
B_FRAMES = {"bf": "3", "b_strategy": "0"}
SMALL_GROUPS = {**B_FRAMES, "g": "20", "x264-params": "scenecut=0"}
OPEN_GROUPS = {**B_FRAMES, "g": "12", "x264-params": "open_gop=1:scenecut=0"}

SLOW_GIF = {"codec": "gif", "pixels": "gray"}
# Name of the file -> how it is made. `after` names the fixture that changes it then; `shown`: the frames that are left.
ODD_FILES = {
    "plain.mp4": {},
    "b_frames.mp4": {"options": SMALL_GROUPS},
    "open_groups.mp4": {"options": OPEN_GROUPS},
    "open_groups.ts": {"options": OPEN_GROUPS},
    "intra_refresh.mkv": {"options": {"x264-params": "intra-refresh=1:keyint=12"}},
    "fragments.mp4": {"options": SMALL_GROUPS, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "uneven.mp4": {"times_ms": UNEVEN_MS},
    "uneven.mkv": {"times_ms": UNEVEN_MS},
    "uneven.webm": {"codec": "libvpx-vp9", "times_ms": UNEVEN_MS},
    "late_start.mkv": {"times_ms": [5000 + time for time in UNEVEN_MS]},
    "colour_444.mp4": {"pixels": "yuv444p"},
    "alpha.mov": {"codec": "qtrle", "pixels": "argb"},
    "with sound [1].mov": {"audio": True},
    "with sound (2) é.mkv": {"audio": True, "options": SMALL_GROUPS},
    "at 12:30 100%d #1?.mp4": {},
    "MPEG4.AVI": {"codec": "mpeg4", "options": {"bf": "2"}},
    "motion_jpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "old.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "older.mpeg": {"codec": "mpeg1video", "options": {"bf": "2"}},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "picture.gif": SLOW_GIF,
    "odd_size.mp4": {"pixels": "yuv444p", "width": 101, "height": 67},
    "351x287.mp4": {"pixels": "yuv444p", "width": 351, "height": 287, "n_frames": 20},
    "351x287.avi": {"codec": "mpeg4", "width": 351, "height": 287, "n_frames": 20},
    "351x287.webm": {"codec": "libvpx-vp9", "width": 351, "height": 287, "n_frames": 20},
    "five.mp4": {"n_frames": 5},
    "five.gif": {**SLOW_GIF, "n_frames": 5},
    "one.mkv": {"n_frames": 1},
    "transparent.mov": {"codec": "png", "pixels": "rgba", "alpha": True, "n_frames": 20},
    "transparent_runs.mov": {"codec": "qtrle", "pixels": "argb", "alpha": True, "n_frames": 20},
    "mkv_named.avi": {"first_name": "right.mkv"},
    "mp4_named.gif": {"first_name": "right.mp4", "options": SMALL_GROUPS},
    "no_suffix": {"first_name": "right.mov"},
    "counts_too_many.avi": {"codec": "mpeg4", "after": "lie_about_length"},
    "lasts_too_long.mp4": {"options": SMALL_GROUPS, "after": "lie_about_length"},
    "start_hidden.mp4": {"options": SMALL_GROUPS, "after": "hide_start", "argument": 25, "shown": range(25, 60)},
    "start_hidden_open.mp4": {"options": OPEN_GROUPS, "after": "hide_start", "argument": 17, "shown": range(17, 60)},
    "end_hidden.mp4": {"options": {"bf": "0"}, "after": "hide_end", "argument": 33, "shown": range(33)},
    "end_hidden.mov": {"options": SMALL_GROUPS, "after": "hide_end", "argument": 33, "shown": range(33)},
}


@pytest.fixture
def odd_file(tmp_path, make_video, request) -> Callable[[str], tuple[Path, range, np.ndarray]]:
    """Makes one of the odd files: its path, the numbers of the frames that it shows, and their times in seconds."""

    def make(name: str) -> tuple[Path, range, np.ndarray]:
        settings = {"n_frames": 60, **ODD_FILES[name]}
        after, argument = settings.pop("after", None), settings.pop("argument", None)
        shown = settings.pop("shown", range(settings["n_frames"]))
        path = make_video(tmp_path / settings.pop("first_name", name), **settings).rename(tmp_path / name)
        if after:
            path = request.getfixturevalue(after)(path, *([] if argument is None else [argument]))
        times = np.array(settings.get("times_ms", np.arange(settings["n_frames"]) * 40)) / 1000
        return path, shown, times[shown] - times[shown[0]]

    return make


@pytest.mark.parametrize("name", ODD_FILES)
def test_every_presented_frame_comes_once_in_order_with_its_time(odd_file, number, name):
    path, shown, times = odd_file(name)
    scan = open_scan(path)
    assert len(scan) == len(shown)
    assert [number(image) for _, image in scan.frames(range(len(scan)))] == list(shown)
    np.testing.assert_allclose(scan.times, times, atol=0.0051 if path.suffix == ".gif" else 0.0011)  # their ticks


@pytest.mark.parametrize("name", ODD_FILES)
def test_a_frame_does_not_depend_on_how_it_was_reached(odd_file, name):
    scan = open_scan(odd_file(name)[0])
    in_a_row = scan.read(range(len(scan)))
    rng = np.random.default_rng(0)
    for _ in range(6):
        wanted = rng.integers(0, len(scan), 3)
        np.testing.assert_array_equal(scan.read(wanted), in_a_row[wanted])
    np.testing.assert_array_equal(scan.read([len(scan) - 1]), in_a_row[-1:])


def test_frames_that_an_edit_list_hides_are_not_frames(tmp_path, make_video, hide_start, number):
    cut = hide_start(make_video(tmp_path / "whole.mp4", 60, options=SMALL_GROUPS), 30)
    with av.open(str(cut)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    scan = open_scan(cut)
    assert [number(image) for image in scan.read(range(len(scan)))] == list(range(30, 60))
    assert number(scan.read([29])[0]) == 59
    assert scan.times[-1] == pytest.approx(29 * 0.04)


def test_a_damaged_file_is_unreadable_with_a_reason(tmp_path, make_video):
    whole = make_video(tmp_path / "whole.mp4", 60, container_options={"movflags": "faststart"}).read_bytes()
    end_first = make_video(tmp_path / "end.mp4", 60).read_bytes()
    broken = {
        "no_video.mp4": b"this is a text file",
        "empty.mp4": b"",
        "index_lost.mp4": end_first[: len(end_first) // 2],
        "cut.mp4": whole[: len(whole) * 2 // 3],
    }
    for name, content in broken.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableScan, match=r"cannot be decoded|cut off"):
            open_scan(path)
    with pytest.raises(UnreadableScan):
        open_scan(tmp_path / "absent.mp4")


@pytest.mark.parametrize(("name", "codec"), [("a.avi", b"FMP4"), ("a.mp4", b"avc1")])
def test_a_video_of_a_codec_that_nobody_knows_is_unreadable_with_a_reason(tmp_path, make_video, name, codec):
    path = make_video(tmp_path / name, codec="mpeg4" if name == "a.avi" else "libx264")
    path.write_bytes(path.read_bytes().replace(codec, b"QQZX"))
    with pytest.raises(UnreadableScan, match="a codec that ffmpeg does not know"):
        open_scan(path)


@pytest.mark.parametrize("place", ["ssl_zoo.scans.video._list_packets", "ssl_zoo.scans.scaling.Scaler.__call__"])
def test_an_error_that_nobody_thought_of_is_a_reason_that_names_its_kind(tmp_path, make_video, monkeypatch, place):
    path = make_video(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(place, lambda *given: [][1])
    with pytest.raises(UnreadableScan, match=r"cannot be read \(IndexError: list index out of range\)") as raised:
        open_scan(path).read([0])
    assert not raised.value.passing


def test_a_sound_file_is_unreadable_because_it_holds_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnreadableScan, match="no video"):
        open_scan(path)


PLAY_LISTS = ["ffconcat version 1.0\nfile {path}\n", "#EXTM3U\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n"]


@pytest.mark.parametrize("text", PLAY_LISTS)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.mpg"])
def test_a_play_list_named_as_a_video_does_not_lead_to_other_files(tmp_path, make_video, text, name):
    secret = make_video(tmp_path / "elsewhere/secret.ts", 5)
    (tmp_path / name).write_text(text.format(path="elsewhere/secret.ts" if "concat" in text else secret))
    with pytest.raises(UnreadableScan, match="cannot be decoded"):
        open_scan(tmp_path / name)


CUT_FILES = {
    "a.mkv": {"options": {"bf": "0"}},
    "b.ts": {"options": {"bf": "0"}},
    "c.mpg": {"codec": "mpeg2video"},
    "d.gif": SLOW_GIF,
    "e.avi": {"codec": "mpeg4"},
    "f.webm": {"codec": "libvpx-vp9"},
    "g.mp4": {"container_options": {"movflags": "faststart"}},
    "h.mp4": {"options": {"g": "5"}, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
}


@pytest.mark.parametrize("name", CUT_FILES)
@pytest.mark.parametrize("share", [0.35, 0.67, 0.97])
def test_a_cut_recording_is_read_up_to_the_cut_or_has_a_reason(tmp_path, make_video, number, name, share):
    whole = make_video(tmp_path / f"whole_{name}", 60, **CUT_FILES[name]).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    reason = ""
    try:
        scan = open_scan(tmp_path / name)
        in_a_row = scan.read(range(len(scan)))
    except UnreadableScan as error:
        reason = str(error)
    if reason:
        assert name not in ("a.mkv", "b.ts", "f.webm")  # written so that they can be read as they come in
        assert any(words in reason for words in ("cut off", "cannot be decoded", "holds no frame", "no frame could be"))
        return
    last = len(scan) - 1  # the picture at the cut may be half there
    assert 3 < len(scan) <= 60
    assert [number(image) for image in in_a_row[:last]] == list(range(last))
    np.testing.assert_array_equal(scan.read([last // 2]), in_a_row[[last // 2]])


def test_counting_by_decoding_finds_the_same_frames(tmp_path, make_video):
    path = make_video(tmp_path / "scan.mp4", 40, options=SMALL_GROUPS)
    listed, counted = open_scan(path), open_scan(path, exact=True)
    np.testing.assert_array_equal(listed.times, counted.times)
    np.testing.assert_array_equal(listed.read([3, 39]), counted.read([3, 39]))


def test_read_keeps_order_and_repeats_and_knows_its_limits(tmp_path, make_video, number):
    scan = open_scan(make_video(tmp_path / "scan.mp4", 20))
    assert [number(image) for image in scan.read([9, 2, 9])] == [9, 2, 9]
    assert scan.read([]).shape == (0, 64, 96)
    with pytest.raises(IndexError, match="20 frames"):
        scan.read([20])
    with pytest.raises(IndexError):
        scan.read([-1])


def test_grey_is_luma_over_the_full_range_and_colour_is_rgb(tmp_path):
    path = tmp_path / "colour.mp4"
    squares = np.zeros((64, 128, 3), np.uint8)
    for place, colour in enumerate([(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 0)]):
        squares[:, 32 * place : 32 * (place + 1)] = colour
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv444p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(squares, format="rgb24")))
        container.mux(stream.encode())
    scan = open_scan(path)
    middles = [16, 48, 80, 112]
    np.testing.assert_allclose(scan.read([0])[0, 32, middles], [255, 76, 150, 0], atol=3)  # Rec. 601 luma
    np.testing.assert_allclose(scan.read([0], channels=3)[0, 32, middles], squares[32, middles], atol=4)


def test_scaling_averages_over_what_it_shrinks(tmp_path):
    path = tmp_path / "checks.avi"
    checks = np.indices((64, 96)).sum(0) % 2 * 200
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gray"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(checks.astype(np.uint8), format="gray")))
        container.mux(stream.encode())
    small = open_scan(path).read([0], box=(12, 8))
    assert small.shape == (1, 8, 12)
    np.testing.assert_allclose(small, 100, atol=3)  # picking single pixels would give 0 or 200


def test_a_turned_picture_is_read_upright(tmp_path, make_video, turn, number):
    scan = open_scan(turn(make_video(tmp_path / "phone.mov", 3)))
    assert (scan.width, scan.height) == (64, 96)
    image = scan.read([2])[0]
    assert image.shape == (96, 64)
    assert number(np.rot90(image)) == 2


def test_pixels_that_are_not_square_are_shown_in_their_true_shape(tmp_path, make_video):
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        container.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
        container.mux(stream.encode())
    scan = open_scan(path)
    assert (scan.width, scan.height) == (192, 64)


def test_the_real_lung_scans_are_all_readable():
    folder = Path(__file__).parents[2].parent / "shared/data/covid_blues/lus_videos"
    if not folder.is_dir():
        pytest.skip("COVID-BLUES is not on this machine")
    for path in sorted(folder.glob("*.mp4"))[::25]:
        scan = open_scan(path)
        assert (scan.width, scan.height) == (350, 350)
        np.testing.assert_allclose(np.diff(scan.times), 0.04, atol=1e-6)
        last = len(scan) - 1
        np.testing.assert_array_equal(scan.read([last])[0], scan.read(range(len(scan)))[last])
