"""Ingest holds one scan at a time: what it needs does not grow with the number of scans, nor with their length."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 256
MOST = 24  # MB
BUILD = """
import sys
from pathlib import Path
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.table import read_scans

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

for folder in sys.argv[1:]:
    settings = SamplerSettings("stride", every=1)
    store = build_store(
        read_scans(Path(folder)), Path(folder + "-store"), sampler=settings, size=%d, workers=1, progress=False
    )
    print(len(store), peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak in this way")
def test_more_scans_and_longer_ones_take_no_more_memory(tmp_path, make_video):
    scan = make_video(tmp_path / "scan.mp4", 50, width=480, height=360, options={"preset": "ultrafast"})
    long = make_video(tmp_path / "long.mp4", 400, width=480, height=360, options={"preset": "ultrafast"})
    for folder, source, count in (("few", scan, 3), ("many", scan, 24), ("long", long, 3)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            shutil.copy(source, tmp_path / folder / f"{number}.mp4")
    command = [sys.executable, "-c", BUILD % SIZE, *(str(tmp_path / folder) for folder in ("few", "many", "long"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    told = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True).stdout
    (_, few), (n_many, many), (n_long, long_ones) = (map(float, line.split()) for line in told.splitlines())
    assert min(n_many, n_long) * SIZE**2 > 3 * MOST * 2**20  # what all stored frames would take
    assert many < few + MOST
    assert long_ones < few + MOST
