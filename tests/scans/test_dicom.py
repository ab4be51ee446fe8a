from __future__ import annotations

import sys

import numpy as np
import pytest

from ssl_zoo.scans.dicom import dicom_patient
from ssl_zoo.scans.reader import UnreadableScan, open_scan

pydicom = pytest.importorskip("pydicom")


def sample(name: str):
    from pydicom.data import get_testdata_file

    return get_testdata_file(name, download=False)


def region(**changes):
    """A 2D region of the picture with 0.05 cm a pixel."""
    given = {
        "RegionSpatialFormat": 1,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.05,
        "PhysicalDeltaY": 0.05,
        "RegionLocationMaxX1": 90,
        "RegionLocationMaxY1": 60,
    }
    dataset = pydicom.Dataset()
    for name, value in (given | changes).items():
        setattr(dataset, name, value)
    return dataset


def test_every_frame_comes_once_in_order_however_it_was_reached(tmp_path, make_dicom, number):
    scan = open_scan(make_dicom(tmp_path / "no suffix", 20, FrameTime=40))
    assert (len(scan), scan.width, scan.height, scan.decoder) == (20, 96, 64, "pydicom")
    assert [number(image) for _, image in scan.frames(range(20))] == list(range(20))
    assert [number(image) for image in scan.read([19, 3, 3, 11])] == [19, 3, 3, 11]


@pytest.mark.parametrize(
    ("header", "steps_ms"),
    [
        ({"FrameTime": 40}, [40, 40, 40]),
        ({"FrameTimeVector": [0, 10, 60, 20]}, [10, 60, 20]),
        ({"FrameTimeVector": [0, 10, 60, 20], "FrameTime": 40, "FrameIncrementPointer": 0x00181063}, [40, 40, 40]),
        ({"FrameTimeVector": [0, 10, 60, 20], "FrameTime": 40, "FrameIncrementPointer": 0x00181065}, [10, 60, 20]),
        ({"FrameTimeVector": [0, 10], "CineRate": 20}, [50, 50, 50]),  # of another length
        ({"FrameTimeVector": [0, 10, 0, 10], "CineRate": 20}, [50, 50, 50]),  # stands still
        ({"FrameTime": 0, "RecommendedDisplayFrameRate": 50}, [20, 20, 20]),
        ({"CineRate": 20, "RecommendedDisplayFrameRate": 50}, [50, 50, 50]),
        ({}, [100, 100, 100]),  # what open_scan is told
    ],
)
def test_times_come_from_the_header_as_far_as_it_tells(tmp_path, make_dicom, header, steps_ms):
    scan = open_scan(make_dicom(tmp_path / "a.dcm", 4, **header), fps=10)
    np.testing.assert_allclose(np.diff(scan.times) * 1000, steps_ms)
    assert scan.times[0] == 0


def test_grey_levels_are_those_that_are_meant_to_be_seen(tmp_path, make_dicom):
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)

    def read(**given):
        return open_scan(make_dicom(tmp_path / "a.dcm", **given)).read([0])[0]

    np.testing.assert_array_equal(read(frames=ramp), ramp[0])
    np.testing.assert_array_equal(read(frames=ramp, kind="MONOCHROME1"), 255 - ramp[0])
    wide = ramp.astype(np.uint16) * 16
    np.testing.assert_allclose(read(frames=wide, BitsStored=12, HighBit=11), ramp[0], atol=1)
    window = read(frames=wide, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=1000)
    level = (wide[0] - (2000 - 0.5 - 499.5)) / 999 * 255  # PS3.3 C.11.2.1.2.1
    np.testing.assert_allclose(window, np.clip(level, 0, 255), atol=0.5)
    shifted = read(frames=wide, BitsStored=12, HighBit=11, WindowCenter=0, WindowWidth=1000, RescaleIntercept=-2000)
    np.testing.assert_allclose(shifted, window, atol=1)
    signed = (ramp.astype(np.int16) - 128).view(np.uint16)
    np.testing.assert_array_equal(read(frames=signed, PixelRepresentation=1, BitsStored=8, HighBit=7), ramp[0])


def test_colours_are_rgb_and_grey_is_their_luma(tmp_path, make_dicom):
    colours = np.zeros((2, 16, 32, 3), np.uint8)
    colours[:, :, :16] = (255, 0, 0)
    colours[:, :, 16:] = (0, 255, 0)
    scan = open_scan(make_dicom(tmp_path / "a.dcm", frames=colours))
    np.testing.assert_array_equal(scan.read([1], channels=3)[0], colours[1])
    np.testing.assert_allclose(scan.read([1])[0, 0, [0, 31]], [76, 150], atol=1)  # Rec. 601
    full = make_dicom(tmp_path / "b.dcm", frames=np.full((1, 8, 8, 3), (76, 85, 255), np.uint8), kind="YBR_FULL")
    np.testing.assert_allclose(open_scan(full).read([0], channels=3)[0, 0, 0], (254, 0, 0), atol=2)


def test_a_palette_is_applied(tmp_path, make_dicom):
    levels = np.arange(256, dtype=np.uint16) << 8
    tables = {}
    for name, table in (("Red", levels), ("Green", levels[::-1].copy()), ("Blue", levels * 0)):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    scan = open_scan(make_dicom(tmp_path / "a.dcm", frames=ramp, kind="PALETTE COLOR", **tables))
    expected = np.stack([ramp[0], 255 - ramp[0], ramp[0] * 0], axis=-1)
    np.testing.assert_array_equal(scan.read([0], channels=3)[0], expected)


def test_spacing_is_that_of_the_ultrasound_regions_or_the_pixels(tmp_path, make_dicom):
    def spacing(**header):
        return open_scan(make_dicom(tmp_path / "a.dcm", 1, **header)).spacing

    assert spacing() is None
    assert spacing(PixelSpacing=[0.3, 0.3]) == pytest.approx(0.3)
    assert spacing(SequenceOfUltrasoundRegions=[region()], PixelSpacing=[0.3, 0.3]) == pytest.approx(0.5)
    flow = region(RegionSpatialFormat=4, PhysicalUnitsXDirection=4, PhysicalDeltaX=0.01)  # seconds across
    assert spacing(SequenceOfUltrasoundRegions=[flow, region()]) == pytest.approx(0.5)
    assert spacing(SequenceOfUltrasoundRegions=[region(), region(PhysicalDeltaX=0.02, PhysicalDeltaY=0.02)]) is None
    assert spacing(SequenceOfUltrasoundRegions=[region(RegionLocationMaxX1=400)]) is None  # of a larger picture


def test_pixels_that_are_not_square_are_shown_in_their_true_shape(tmp_path, make_dicom):
    scan = open_scan(make_dicom(tmp_path / "a.dcm", 1, PixelSpacing=[0.3, 0.6]))  # down, across
    assert (scan.width, scan.height, scan.spacing) == (192, 64, pytest.approx(0.3))
    assert scan.read([0]).shape == (1, 64, 192)
    scan = open_scan(make_dicom(tmp_path / "b.dcm", 1, PixelAspectRatio=[2, 1]))
    assert (scan.width, scan.height, scan.spacing) == (48, 64, None)


def test_pydicoms_own_cine_is_read_frame_by_frame():
    path = sample("examples_ybr_color.dcm")
    scan = open_scan(path)
    assert (len(scan), scan.width, scan.height) == (30, 320, 240)
    np.testing.assert_allclose(np.diff(scan.times), 0.033333)
    read = scan.read(range(30), channels=3).astype(int)
    assert np.abs(read - pydicom.dcmread(path).pixel_array).mean() < 2
    assert np.abs(read[..., 0] - read[..., 1]).mean() < 5  # RGB, and nearly grey
    np.testing.assert_array_equal(scan.read([17], channels=3)[0], read[17])
    assert np.abs(read[0] - read[29]).mean() > 1  # it moves
    assert scan.spacing is None  # its region is that of a picture of 640 x 480


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("examples_palette.dcm", (800, 350)),
        ("examples_rgb_color.dcm", (320, 240)),
        ("examples_jpeg2k.dcm", (640, 480)),
        ("SC_rgb_rle_2frame.dcm", (100, 100)),
        ("SC_rgb_jpeg_gdcm.dcm", (100, 100)),
        ("ExplVR_BigEnd.dcm", (80, 60)),
    ],
)
def test_pydicoms_own_pictures_are_read(name, size):
    if name == "SC_rgb_jpeg_gdcm.dcm":
        pytest.importorskip("gdcm", reason="lossless JPEG needs gdcm")
    scan = open_scan(sample(name))
    assert (scan.width, scan.height) == size
    grey, colour = scan.read([0])[0], scan.read([0], channels=3)[0]
    assert grey.std() > 10
    np.testing.assert_allclose(grey, colour @ [0.299, 0.587, 0.114], atol=3)


def test_a_damaged_or_empty_file_is_unreadable_with_a_reason(tmp_path, make_dicom):
    whole = make_dicom(tmp_path / "whole.dcm", 20).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableScan, match=r"cannot be decoded|cut off"):
        open_scan(tmp_path / "cut.dcm")
    with pytest.raises(UnreadableScan, match=r"cannot be decoded|cut off"):
        open_scan(make_dicom(tmp_path / "fewer.dcm", 4, NumberOfFrames=9))
    with pytest.raises(UnreadableScan, match=r"without pictures \(SR\)"):
        open_scan(sample("test-SR.dcm"))
    (tmp_path / "text.dcm").write_text("no DICOM at all")
    with pytest.raises(UnreadableScan, match="cannot be decoded"):
        open_scan(tmp_path / "text.dcm")


def test_the_patient_is_read_from_the_header(tmp_path, make_dicom):
    assert dicom_patient(make_dicom(tmp_path / "a.dcm", 1, PatientID=" 0 17 ")) == "0 17"
    assert dicom_patient(make_dicom(tmp_path / "b.dcm", 1)) == ""
    assert dicom_patient(tmp_path / "absent.dcm") == ""


def test_pixels_that_no_installed_package_decodes_may_be_readable_another_time(tmp_path, make_dicom, monkeypatch):
    path = make_dicom(tmp_path / "a.dcm", 2)

    def lacking(*given, **more):
        raise RuntimeError("Unable to decompress 'JPEG Lossless': all plugins are missing dependencies:\n\tgdcm")

    monkeypatch.setattr("pydicom.pixels.utils.iter_pixels", lacking)
    with pytest.raises(UnreadableScan, match=r"cannot be decoded .* missing dependencies: gdcm") as raised:
        open_scan(path)
    assert raised.value.passing
    monkeypatch.undo()
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(UnreadableScan) as raised:
        open_scan(tmp_path / "cut.dcm")
    assert not raised.value.passing


def test_without_pydicom_the_reason_says_what_to_install(tmp_path, make_dicom, monkeypatch):
    path = make_dicom(tmp_path / "a.dcm", 2)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableScan, match=r"pip install 'ssl_zoo\[dicom\]'"):
        open_scan(path)
