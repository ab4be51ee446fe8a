"""The sector: found where it was drawn, for every kind of probe, and harmless where there is none."""

from __future__ import annotations

import math

import pytest
import torch

from ssl_zoo.training.sector import Sector, content, find_sector


def frames(mask: torch.Tensor, level: int = 120, channels: int = 1) -> torch.Tensor:
    """uint8 `[1, C, H, W]`."""
    return (mask * level).to(torch.uint8).expand(1, channels, *mask.shape).contiguous()


def polar(sector: Sector) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth and lateral place `[h, w]` of the pixels of the first frame, 0..1 in the sector."""
    lateral, depth = (sector.places[0] + 1) / 2
    return depth, lateral


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [47, 64, 97, 224, 301])
@pytest.mark.parametrize(
    ("apex", "half", "near"), [((0.5, -0.5), 26.0, 0.56), ((0.4, -0.3), 33.0, 0.4), ((0.5, -0.01), 40.0, 0.02)]
)
def test_the_apex_and_the_edges_of_a_fan_are_found(size, channels, apex, half, near, fan):
    sector = find_sector(
        frames(fan(size, size, apex=apex, half=half, near=near, far=0.93 - apex[1]), channels=channels)
    )
    assert sector.apex[0].tolist() == pytest.approx(apex, abs=0.05)
    assert sector.rays[0].tolist() == pytest.approx([-math.tan(math.radians(half)), math.tan(math.radians(half))], 0.12)
    assert sector.depths[0].tolist() == pytest.approx([near, 0.93 - apex[1]], abs=0.05)
    assert sector.face[0].tolist() == pytest.approx([apex[0], apex[1] + near], abs=0.05)


def test_depth_and_lateral_place_run_from_0_to_1_across_the_sector(fan):
    mask = fan(60, 60)
    sector = find_sector(frames(mask))
    depth, lateral = polar(sector)
    for values in (depth, lateral):
        assert values[mask].min() == pytest.approx(0, abs=0.03)
        assert values[mask].max() == pytest.approx(1, abs=0.03)
    assert (depth[1:, 30] > depth[:-1, 30]).all()
    assert (lateral[:, 1:] > lateral[:, :-1]).all()


def test_an_edge_that_fluid_hides_and_marks_beside_the_sector_do_not_move_the_apex(fan):
    mask = fan(128, 128)
    hidden = mask.clone()
    hidden[30:60, :64] &= fan(128, 128, half=15)[30:60, :64]  # fluid at the left edge, halfway down
    hidden[5:13:4, 2:20] = True  # lines of text in the corner
    hidden[20:100, 125] = True  # a ruler
    sector, clean = find_sector(frames(hidden)), find_sector(frames(mask))
    torch.testing.assert_close(sector.apex, clean.apex, atol=0.06, rtol=0)
    torch.testing.assert_close(sector.rays, clean.rays, atol=0.06, rtol=0)


def test_rays_are_nearly_parallel_where_no_edge_can_be_seen():
    linear = torch.zeros(64, 64, dtype=torch.bool)
    linear[:, 10:54] = True
    everywhere, nowhere = torch.ones(64, 64, dtype=torch.bool), torch.zeros(64, 64, dtype=torch.bool)
    for mask in (linear, everywhere, nowhere):
        sector = find_sector(frames(mask))
        assert sector.apex[0, 0] == pytest.approx(0.5, abs=0.05)
        assert sector.apex[0, 1] < -1.5
        depth, lateral = polar(sector)
        assert depth.isfinite().all()
        assert lateral.isfinite().all()
        assert depth[-1, 32] - depth[0, 32] == pytest.approx(1, abs=0.15)


def test_black_fluid_and_a_shadow_to_the_bottom_belong_to_the_sector_and_what_is_beside_it_does_not(fan):
    mask = fan(99, 99)
    holed = mask.clone()
    holed[40:55, 40:60] = False  # fluid
    holed[60:, 45:52] = False  # a shadow
    pictures = frames(holed).float() / 255
    found = find_sector(pictures).covers(pictures, torch.tensor([0]))[0, 0].bool()
    assert not (found & ~mask).any()
    assert (found & mask).sum() > 0.99 * mask.sum()


def test_the_content_of_a_crop_is_its_share_of_the_lit_pixels(fan):
    mask = fan(100, 100)
    sector = find_sector(frames(mask))
    for left, top, width, height in ((0.0, 0.0, 1.0, 1.0), (0.1, 0.2, 0.5, 0.6), (0.0, 0.0, 0.2, 0.2)):
        theta = torch.tensor([[width, 0, 2 * left + width - 1], [0, height, 2 * top + height - 1]])
        box = mask[int(top * 100) : round((top + height) * 100), int(left * 100) : round((left + width) * 100)]
        assert float(content(sector, theta[None, None])) == pytest.approx(float(box.sum() / mask.sum()), abs=0.02)
    black = find_sector(frames(torch.zeros(32, 32, dtype=torch.bool)))
    assert float(content(black, torch.eye(2, 3)[None, None])) == 1


def test_fields_over_depth_and_lateral_place_are_laid_along_the_rays(fan):
    for size in (60, 150):
        mask = fan(size, size)
        sector = find_sector(frames(mask))
        y, x = torch.meshgrid((torch.arange(size) + 0.5) / size, (torch.arange(size) + 0.5) / size, indexing="ij")
        distance, angle = torch.hypot(x - 0.5, y + 0.5), torch.atan2(x - 0.5, y + 0.5)
        depth, lateral = (distance - 0.56) / 0.88, 0.5 + 0.5 * angle.tan() / math.tan(math.radians(26))
        slope = torch.linspace(0, 1, 9)
        for field, expected in ((slope[:, None].expand(9, 5), depth), (slope.expand(5, 9), lateral)):
            for lay in (sector.spread, sector.texture):
                laid = lay(field[None, None], torch.tensor([0]))[0, 0]
                torch.testing.assert_close(laid[mask], expected[mask], atol=0.04, rtol=0)
