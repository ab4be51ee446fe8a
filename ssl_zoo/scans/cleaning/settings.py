"""What cleaning does to a scan: each step is a switch."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_zoo.errors import UserError, unknown

SECTORS = ("keep", "crop", "mask")
CHOICES = {
    "sector": SECTORS,
    "overlays": ("keep", "inpaint", "drop"),
    "duplicates": ("keep", "scan", "store"),
    "colour": ("keep", "drop"),
}
SHARES = ("overlay_share", "colour_share")


@dataclass(frozen=True)
class CleaningSettings:
    """The steps of cleaning, in the order in which they are taken.

    `sector`: what becomes of the pixels outside the ultrasound sector. `keep`: they stay. `crop`: the frame is cut to
    the sector's box. `mask`: cut, and black outside the sector.
    `overlays`: what becomes of marks inside the sector that stand still while the tissue moves (calipers, focus
    marks, text). `inpaint`: filled from the pixels around them. `drop`: the scan is left out where they cover more
    than `overlay_share` of the sector, else they are kept.
    `black`, `frozen`, `split_screen`: whether frames are dropped that show nothing, that repeat the frame kept before
    them, that show two images side by side.
    `duplicates`: whether frames are dropped that show nearly the same as another one: `scan`: as the frame kept before
    them; `store`: that, and as any earlier frame of any scan. Neighbours in time often show nearly the same, so that
    both take away positive pairs.
    `colour`: `drop` leaves out scans with colour flow, which have saturated colours in more than `colour_share` of
    the sector.
    """

    sector: str = "mask"
    overlays: str = "inpaint"
    overlay_share: float = 0.05
    black: bool = True
    frozen: bool = True
    split_screen: bool = True
    duplicates: str = "keep"
    max_distance: int = 3  # of 64 bits, between the perceptual hashes of near duplicates
    min_correlation: float = 0.995  # between the thumbnails of near duplicates
    colour: str = "keep"
    colour_share: float = 0.005

    def check(self) -> None:
        """Raise UserError for a value that cannot be, naming its key."""
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                raise unknown(f"frames.cleaning.{key}", str(getattr(self, key)), choices)
        for key in SHARES:
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"frames.cleaning.{key} is {getattr(self, key)}; it must lie between 0 and 1")
        if not 0 <= self.max_distance <= 15:
            raise UserError(f"frames.cleaning.max_distance is {self.max_distance}; it must lie between 0 and 15 bits")
        if not 0 < self.min_correlation <= 1:
            raise UserError(f"frames.cleaning.min_correlation is {self.min_correlation}; it must lie in (0, 1]")

    @property
    def anything(self) -> bool:
        """Whether any step is switched on."""
        return any(getattr(self, key) != "keep" for key in CHOICES) or self.black or self.frozen or self.split_screen
