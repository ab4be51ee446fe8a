"""Which frames of the scans are kept: one function per sampler, by times in seconds, never by a frame rate.

A sampler takes the candidates, all frames of all scans, and the settings, and returns the rows to keep. A new one is
one function and one line in `SAMPLERS`; `by_scan` makes it from a choice within one scan.

Runs. A positive pair needs a neighbour within a short window, and 32 frames spread over a minute have none.
So a sampler may keep short runs instead of single frames: `clip_length` frames in a row at each place, with the
same number of frames in total. `clip_step_s` spaces the frames of a run (useful at high frame rates, where
neighbours are nearly the same picture).
"""

from ssl_zoo.scans.samplers.settings import SamplerSettings
from ssl_zoo.scans.samplers.table import SAMPLERS, Sampler, sample

__all__ = ["SAMPLERS", "Sampler", "SamplerSettings", "sample"]
