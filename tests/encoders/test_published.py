"""Every published encoder comes back from a file in its published format with all of its weights in their places."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from timm.models import eva
from torch import nn
from torch.nn import functional

from ssl_zoo import load_encoder
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.entry import Entry
from ssl_zoo.encoders.files import save_encoder
from ssl_zoo.encoders.fitting import FITTINGS
from ssl_zoo.encoders.published import _shapes, parse_published, published_fingerprint
from ssl_zoo.errors import UserError
from tests.encoders.published_files import TINY, network, write_published

NAMES = list(PUBLISHED)


def pictures(entry: Entry, count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, entry.size, entry.size), generator=torch.Generator().manual_seed(0)).byte()


def seen(entry: Entry, grey: torch.Tensor) -> torch.Tensor:
    """What the network sees of grey pictures, by the entry's own numbers."""
    colours = grey[:, None].expand(-1, 3, -1, -1).float() / 255
    return (colours - torch.tensor(entry.mean).view(3, 1, 1)) / torch.tensor(entry.std).view(3, 1, 1)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_file_under_the_published_names_gives_the_features_of_the_network_that_wrote_it(tiny, name, capsys):
    path, model = tiny(name)
    entry = PUBLISHED[name]
    encoder = load_encoder(f"{name}:{path}")
    said = capsys.readouterr().err
    assert f"{len(model.state_dict()) - len(encoder_fill(name))} matched, 0 missing, 0 unexpected" in said
    grey = pictures(entry)
    assert torch.equal(encoder(grey), model(seen(entry, grey)))
    assert encoder(grey).shape == (2, encoder.num_features) == (2, TINY[name][1])
    assert not encoder.training


def encoder_fill(name: str) -> list[str]:
    """Weights that the published file does not have, by what is known of it."""
    return {"usfm": ["fc_norm.weight", "fc_norm.bias"], "fetalclip": ["head.bias"]}.get(name, [])


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_no_weight_of_the_network_is_idle(tiny, name):
    path, _ = tiny(name)
    encoder = load_encoder(f"{name}:{path}")
    grey = pictures(PUBLISHED[name], 1)
    before = encoder(grey)
    for key, value in encoder.backbone.named_parameters():
        if key in ("stem.0.bias", "stem.3.bias"):
            continue  # MOFO's instance norms take them off again
        kept = value.clone()
        value.add_(torch.linspace(-1, 1, value.numel()).view(value.shape))
        assert not torch.allclose(encoder(grey), before, atol=1e-6), key
        value.copy_(kept)


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_encoder_can_be_saved_as_a_folder_and_comes_back(tiny, name, tmp_path):
    path, _ = tiny(name)
    encoder = load_encoder(f"{name}:{path}")
    save_encoder(tmp_path / "folder", encoder.backbone, encoder.card)
    again = load_encoder(tmp_path / "folder")
    grey = pictures(PUBLISHED[name], 1)
    with torch.no_grad():
        assert torch.equal(again(grey), encoder(grey))
    assert again.card == dataclasses.replace(encoder.card, arguments=again.card.arguments)  # tuples come back as lists


@torch.no_grad()
def test_usfm_shares_one_position_table_among_all_blocks(tiny):
    path, _ = tiny("usfm")
    entry = PUBLISHED["usfm"]
    encoder = load_encoder(f"usfm:{path}")
    shared = network(entry, use_shared_rel_pos_bias=True, use_rel_pos_bias=False)
    own = encoder.backbone.state_dict()
    table = own.pop("blocks.0.attn.relative_position_bias_table")
    own = {key: value for key, value in own.items() if "relative_position" not in key}
    shared.load_state_dict(own | {"rel_pos_bias.relative_position_bias_table": table}, strict=True)
    grey = pictures(entry)
    assert torch.allclose(encoder(grey), shared(seen(entry, grey)), atol=1e-5)


@pytest.mark.parametrize(
    "key",
    [
        "rel_pos_bias.relative_position_bias_table",
        "blocks.0.attn.q_bias",
        "blocks.1.attn.v_bias",
        "blocks.0.gamma_1",
        "blocks.1.gamma_2",
    ],
)
@torch.no_grad()
def test_usfm_needs_its_position_table_its_biases_and_its_layer_scale_and_uses_them(tiny, key):
    path, _ = tiny("usfm")
    grey = pictures(PUBLISHED["usfm"], 1)
    before = load_encoder(f"usfm:{path}")(grey)
    weights = torch.load(path)
    torch.save(weights | {key: weights[key] + torch.randn(weights[key].shape)}, path)
    assert not torch.allclose(load_encoder(f"usfm:{path}")(grey), before, atol=1e-4)
    del weights[key]
    torch.save(weights, path)
    with pytest.raises(UserError, match=r"missing"):
        load_encoder(f"usfm:{path}")


@torch.no_grad()
def test_usfm_with_a_final_norm_of_its_own_uses_it(tiny):
    path, model = tiny("usfm")
    weights = torch.load(path)
    width = len(weights["norm.weight"])
    torch.save(weights | {"fc_norm.weight": torch.randn(width), "fc_norm.bias": torch.randn(width)}, path)
    grey = pictures(PUBLISHED["usfm"], 1)
    assert not torch.allclose(load_encoder(f"usfm:{path}")(grey), model(seen(PUBLISHED["usfm"], grey)), atol=1e-3)


@torch.no_grad()
def test_usf_mae_is_the_mean_of_the_patches_behind_the_norm(tiny):
    path, _ = tiny("usf_mae")
    entry = PUBLISHED["usf_mae"]
    encoder = load_encoder(f"usf_mae:{path}")
    tokens = encoder.backbone.forward_features(seen(entry, grey := pictures(entry)))  # [B, 1 + patches, D]
    assert torch.allclose(tokens[:, 1:].mean(1), encoder(grey), atol=1e-6)
    assert abs(encoder.backbone.norm.weight).min() != 1  # the file's


@torch.no_grad()
def test_fetalclip_is_the_clip_of_its_paper(tiny):
    """CLIP's image tower once more, in plain torch, from the published names."""
    path, _ = tiny("fetalclip")
    entry = PUBLISHED["fetalclip"]
    weights = {key.removeprefix("visual."): value for key, value in torch.load(path).items() if "visual." in key}
    grey = pictures(entry)
    x = functional.conv2d(seen(entry, grey), weights["conv1.weight"], stride=14).flatten(2).transpose(1, 2)
    x = torch.cat([weights["class_embedding"].expand(len(x), 1, -1), x], 1) + weights["positional_embedding"]
    width = x.shape[-1]

    def norm(x, name):
        return functional.layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)

    x = norm(x, "ln_pre")
    for block in ("transformer.resblocks.0.", "transformer.resblocks.1."):
        y = norm(x, f"{block}ln_1").transpose(0, 1)
        attended, _ = functional.multi_head_attention_forward(
            y, y, y, width, 2, weights[f"{block}attn.in_proj_weight"], weights[f"{block}attn.in_proj_bias"],
            None, None, False, 0.0, weights[f"{block}attn.out_proj.weight"], weights[f"{block}attn.out_proj.bias"],
            training=False,
        )  # fmt: skip
        x = x + attended.transpose(0, 1)
        first, second = f"{block}mlp.c_fc.", f"{block}mlp.c_proj."
        y = functional.linear(norm(x, f"{block}ln_2"), weights[f"{first}weight"], weights[f"{first}bias"])
        x = x + functional.linear(functional.gelu(y), weights[f"{second}weight"], weights[f"{second}bias"])
    expected = norm(x[:, 0], "ln_post") @ weights["proj"]
    assert torch.allclose(load_encoder(f"fetalclip:{path}")(grey), expected, atol=1e-4)


@torch.no_grad()
def test_dinov3_is_loaded_as_timm_loads_it(tiny):
    path, _ = tiny("dinov3")
    entry = PUBLISHED["dinov3"]
    other = network(entry, seed=5)
    other.load_state_dict(eva.checkpoint_filter_fn(dict(torch.load(path)), other), strict=True)
    grey = pictures(entry)
    assert torch.equal(load_encoder(f"dinov3:{path}")(grey), other(seen(entry, grey)))


@torch.no_grad()
def test_ultrasam_is_the_mean_of_the_last_blocks_map_with_sams_norms(tiny):
    path, _ = tiny("ultrasam")
    entry = PUBLISHED["ultrasam"]
    encoder = load_encoder(f"ultrasam:{path}")
    maps = []
    encoder.backbone.blocks[-1].register_forward_hook(lambda _, __, out: maps.append(out))  # [B, rows, columns, D]
    features = encoder(pictures(entry, 1))
    assert maps[0].shape == (1, 16, 16, 24)
    assert torch.allclose(features, maps[0].mean((1, 2)), atol=1e-6)
    assert {part.eps for part in encoder.modules() if isinstance(part, nn.LayerNorm)} == {1e-6}


@pytest.mark.parametrize("name", ["usf_mae", "usfm", "ultrasam", "fetalclip", "dinov3"])
@torch.no_grad()
def test_another_input_size_resamples_the_position_tables(tiny, name):
    path, model = tiny(name)
    entry = PUBLISHED[name]
    size = entry.size // 2
    encoder = load_encoder(f"{name}@{size}:{path}")
    assert (encoder.card.size, encoder.card.init) == (size, f"{name}@{size}")
    grey = pictures(dataclasses.replace(entry, size=size))
    features = encoder(grey)
    assert features.shape == (2, entry.features)
    if hasattr(model, "set_input_size"):  # timm's own way
        model.set_input_size((size, size))
        assert torch.allclose(features, model(seen(entry, grey)), atol=1e-5)
    elif name == "ultrasam":  # SAM stretches its tables when it runs
        assert torch.allclose(features, model(seen(entry, grey)), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_follows_the_file_the_size_and_the_fitting(tiny, name, monkeypatch):
    path, _ = tiny(name)
    spec = f"{name}:{path}"
    before = published_fingerprint(spec)
    assert published_fingerprint(spec) == before
    if PUBLISHED[name].other_sizes:
        assert published_fingerprint(f"{name}@{PUBLISHED[name].size // 2}:{path}") != before
    fitting = next(other for other in FITTINGS if other != PUBLISHED[name].fitting)
    with monkeypatch.context() as patch:
        patch.setitem(PUBLISHED, name, dataclasses.replace(PUBLISHED[name], fitting=fitting))
        assert published_fingerprint(spec) != before
    tiny(name, seed=2)
    assert published_fingerprint(spec) != before


def test_a_spec_is_taken_apart_and_other_words_are_not_published_encoders():
    found = parse_published("ultrasam@512:/a/b:c.pth")
    assert found is not None
    assert (found.entry.name, found.size, str(found.path), found.name) == (
        "ultrasam",
        512,
        "/a/b:c.pth",
        "ultrasam@512",
    )
    assert parse_published("dinov3@256:/x") == parse_published("dinov3:/x")
    assert all(parse_published(word) is None for word in ("random", "imagenet:/x", "runs/usf_mae", "C:/x"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("usfm", ["not shipped", "openmedlab/USFM", "usfm:/path/file"]),
        ("usfm:", ["not shipped"]),
        ("usfm@big:/x", ["'big' is no input size"]),
        ("usfm@9:/x", ["'9' is no input size"]),
        ("mofo@448:/x", ["mofo takes images of 224 pixels only"]),
        ("usfm:/nowhere/x.pth", ["/nowhere/x.pth: no such file"]),
    ],
)
def test_a_spec_that_cannot_work_says_why(spec, words):
    with pytest.raises(UserError) as error:
        load_encoder(spec)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_size_that_no_patches_tile_is_refused(tiny):
    path, _ = tiny("usfm")
    with pytest.raises(UserError, match="16-pixel patches"):
        load_encoder(f"usfm@100:{path}")
    path, _ = tiny("ultrasam")
    with pytest.raises(UserError, match="16-pixel patches"):
        load_encoder(f"ultrasam@100:{path}")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_published_sizes_round_trip(name, tmp_path):
    """Full networks with the prefix tokens and features of the entry; UltraSam at 224 for the time it takes."""
    entry = PUBLISHED[name]
    model = write_published(name, tmp_path / "file.pth")
    spec = f"{name}@224" if name == "ultrasam" else name
    encoder = load_encoder(f"{spec}:{tmp_path / 'file.pth'}")
    assert encoder.num_features == entry.features
    assert getattr(encoder.backbone, "num_prefix_tokens", 0) == entry.prefix_tokens
    grey = pictures(dataclasses.replace(entry, size=encoder.card.size), 1)
    assert torch.allclose(encoder(grey), model(seen(entry, grey)), atol=1e-3)


def test_every_entry_says_what_it_must():
    for entry in PUBLISHED.values():
        assert entry.licence
        assert entry.paper
        assert entry.weights
        assert entry.inferred or entry.unknown
        assert set(entry.with_labels) <= set(entry.pretraining_data)
        assert set(entry.tested_on) <= set(entry.pretraining_data)
        assert not set(entry.not_seen) & set(entry.pretraining_data)


@pytest.mark.slow
def test_the_numbers_of_the_networks_are_the_published_ones():
    """Parameters of the encoder alone, in millions, and their shapes at the published size."""
    millions = {"usf_mae": 86, "usfm": 86, "mofo": 35, "ultrasam": 90, "fetalclip": 304, "dinov3": 86}
    for name, expected in millions.items():
        shapes = _shapes(PUBLISHED[name], PUBLISHED[name].size)
        assert round(sum(shape.numel() for shape in shapes.values()) / 1e6) == pytest.approx(expected, abs=1), name
    assert _shapes(PUBLISHED["ultrasam"], 1024)["pos_embed"] == (1, 64, 64, 768)
    assert _shapes(PUBLISHED["usf_mae"], 224)["pos_embed"] == (1, 197, 768)
    assert _shapes(PUBLISHED["fetalclip"], 224)["pos_embed"] == (1, 257, 1024)
    assert _shapes(PUBLISHED["fetalclip"], 224)["head.weight"] == (768, 1024)
    assert _shapes(PUBLISHED["dinov3"], 256)["reg_token"] == (1, 4, 768)
    assert _shapes(PUBLISHED["usfm"], 224)["blocks.0.attn.relative_position_bias_table"] == (27 * 27 + 3, 12)
