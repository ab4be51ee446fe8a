"""What an experiment changes in the views: who gets it, and what is refused."""

from __future__ import annotations

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.training.view_recipes import ACOUSTIC, PRESETS
from ssl_zoo.training.views import VIEWS, ViewSettings, view_recipes, view_settings


def test_the_preset_reaches_all_methods_but_changes_brightness_only_where_views_are_compared():
    settings = ViewSettings(preset="ultrasound")
    for name in VIEWS:
        for recipe in view_recipes(name, settings):
            assert recipe.tilt == PRESETS["ultrasound"]["tilt"]
            assert recipe.min_content == PRESETS["ultrasound"]["local_min_content" if recipe.small else "min_content"]
            for operation in ACOUSTIC:
                expected = PRESETS["ultrasound"][operation] if len(VIEWS[name]) > 1 else 0
                assert getattr(recipe, operation) == expected
    assert view_recipes("two_view", ViewSettings()) == VIEWS["two_view"]
    assert view_recipes("two_view", ViewSettings(preset="paper")) == VIEWS["two_view"]


def test_an_operation_that_is_named_reaches_every_view_of_every_method():
    settings = ViewSettings(preset="ultrasound", haze=0.7, haze_level=0.2, tilt=0, min_content=0.5)
    for name in VIEWS:
        for recipe in view_recipes(name, settings):
            assert (recipe.haze, recipe.haze_level, recipe.tilt) == (0.7, 0.2, 0)
            assert recipe.min_content == (0.1 if recipe.small else 0.5)
    alone = ViewSettings(shadow=1.0)
    assert all(recipe.shadow == 1 and recipe.tgc == 0 for name in VIEWS for recipe in view_recipes(name, alone))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"preset": "ultrasonic"}, "did you mean 'ultrasound'"),
        ({"hase": 0.5}, "unknown key 'hase'; did you mean 'haze'"),
        ({"haze": 1.5}, "haze is a probability in 0..1, not 1.5"),
        ({"haze": "often"}, "haze is a probability in 0..1, not 'often'"),
        ({"haze": 1, "haze_level": 2}, "haze_level is a share"),
        ({"shadow_loss": 0.5}, "shadow_loss changes nothing while shadow"),
        ({"preset": "ultrasound", "tgc": 0, "tgc_gain": 0.5}, "tgc_gain changes nothing while tgc"),
        ({"min_content": -0.1}, "min_content is a share"),
        ({"tilt": 90}, "tilt is an angle"),
        ({"crop_scale": 0.5}, "crop_scale is a range of area shares"),
        ({"crop_scale": [0.8, 0.5]}, "crop_scale is a range of area shares"),
        ({"aspect": [0, 1]}, "aspect is a range"),
        ({"local_crops": 1.5}, "local_crops is a count"),
        ({"rotation": float("nan")}, "rotation is a number"),
        ({"tgc": 1, "tgc_gain": 1.0}, "tgc_gain must lie in"),
    ],
)
def test_wrong_settings_are_one_clear_sentence(values, sentence):
    with pytest.raises(UserError, match=sentence):
        view_settings(values)


def test_settings_are_read_as_an_experiment_gives_them():
    settings = view_settings({"preset": "ultrasound", "crop_scale": [0.6, 1.0], "shadow_width": [0.01, 0.02]})
    assert settings.crop_scale == (0.6, 1.0)
    assert all(recipe.shadow_width == (0.01, 0.02) for recipe in view_recipes("asymmetric", settings))


def test_settings_change_the_views_of_every_method_but_add_no_operation():
    settings = ViewSettings(crop_scale=(0.7, 1.0), flip=0.0, blur=0.2, local_crops=2, local_crop_scale=(0.2, 0.3))
    for name in VIEWS:
        recipes = view_recipes(name, settings)
        assert all(recipe.flip == 0 for recipe in recipes)
        crops = {recipe.crop_scale for recipe in recipes if not recipe.small}
        assert crops == {(1.0, 1.0) if name == "autoencoder" else (0.7, 1.0)}
        assert {recipe.blur for recipe in recipes} <= {0.0, 0.2}
    small = [recipe for recipe in view_recipes("multi_crop", settings) if recipe.small]
    assert [recipe.crop_scale for recipe in small] == [(0.2, 0.3)] * 2
    assert view_recipes("single", settings)[0].blur == 0
    assert view_recipes("two_view", None) == VIEWS["two_view"]


def test_wrong_names_and_values_are_named():
    with pytest.raises(UserError, match="did you mean 'two_view'"):
        view_recipes("two_views")
    with pytest.raises(UserError, match="flip is a probability"):
        ViewSettings(flip=1.5)
    with pytest.raises(UserError, match="crop_scale is a range"):
        ViewSettings(crop_scale=(0.0, 1.0))
