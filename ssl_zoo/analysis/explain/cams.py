"""Class activation maps by pytorch-grad-cam: where in an image a classifier finds a class.

Grad-CAM (arXiv 1610.02391) weighs the maps of a layer by the mean gradient of the class's logit, Score-CAM (arXiv
1910.01279) by the logit of the image seen through each map, and EigenCAM (arXiv 2008.00299) takes their first
principal component, which knows no class. One image at a time, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_zoo.analysis.explain.layers import MapLayer
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.transfer.classifier import Classifier
from ssl_zoo.transfer.features import images_at_once, to_batch

TECHNIQUES = {"grad_cam": "Grad-CAM", "score_cam": "Score-CAM", "eigen_cam": "EigenCAM"}
WITHOUT_CLASS = ("eigen_cam",)  # whose map is the same for every class
CHANNELS_AT_ONCE = 32  # masked images that Score-CAM holds at a time


def check_techniques(names: list[str]) -> None:
    """Refuse a technique that is not known, and say what to install where pytorch-grad-cam is missing."""
    for name in names:
        if name not in TECHNIQUES:
            raise unknown("technique", name, TECHNIQUES)
    _library()


def class_map(classifier: Classifier, layer: MapLayer, image: np.ndarray, target: int, technique: str) -> np.ndarray:
    """Where `image`, uint8 `[H, W]` or `[H, W, 3]`, speaks for class `target`: float32 `[size, size]` in 0..1.

    `size` is the encoder's input size. All zeros where nothing speaks for the class. The classifier is left as it was,
    without a hook. Raises FloatingPointError when the map is not finite.
    """
    normalised = classifier.encoder.normalise(to_batch(image[None], classifier.device))  # [1, C, size, size]
    with _cam(classifier, layer, technique) as cam:
        found = cam(normalised.detach().requires_grad_(), [_Logit(target)])[0]
    if not np.isfinite(found).all():
        raise FloatingPointError(f"{technique}: the map holds NaN or infinity: the network's weights are not usable")
    return np.asarray(found, dtype=np.float32)


class _Logit:
    """The number that a map explains: one class's logit."""

    def __init__(self, target: int) -> None:
        self.target = target

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[self.target]


@contextmanager
def _cam(classifier: Classifier, layer: MapLayer, technique: str) -> Iterator[Any]:
    cam = _techniques()[technique](classifier, [layer.module], reshape_transform=layer.maps)
    try:
        yield cam
    finally:
        cam.activations_and_grads.release()


def _techniques() -> dict[str, Any]:
    library = _library()

    class ScoreCAM(library.ScoreCAM):
        """Score-CAM that holds a few masked images at a time, not all channels of the layer at once."""

        def get_cam_weights(
            self, input_tensor: Tensor, target_layer: nn.Module, targets: list, activations: np.ndarray, grads: Any
        ) -> np.ndarray:
            del target_layer, grads
            kept = list(self.activations_and_grads.activations)
            channels, size = activations.shape[1], input_tensor.shape[-1]
            at_once = images_at_once(self.model.encoder, CHANNELS_AT_ONCE)
            scores = []
            with torch.no_grad():
                for start in range(0, channels, at_once):
                    masks = torch.from_numpy(activations[0, start : start + at_once]).to(input_tensor.device)
                    masks = nn.functional.interpolate(
                        masks[:, None].float(), (size, size), mode="bilinear", align_corners=True
                    )
                    low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
                    logits = self.model(input_tensor * ((masks - low) / (high - low + 1e-8)))  # [c, K]
                    scores.append(targets[0](logits.T))
                    # the layer's hook keeps the activations of every pass
                    self.activations_and_grads.activations = list(kept)
            return torch.softmax(torch.cat(scores), 0).cpu().numpy()[None]

    class EigenCAM(library.EigenCAM):
        """EigenCAM with a sign: a principal component has none, and a map whose sign is a matter of luck says nothing.

        As in Chung and Ying 2025 (doi 10.3390/app15137562, eq. 13), its largest values are positive.
        """

        def get_cam_image(
            self, input_tensor: Tensor, target_layer: Any, targets: Any, activations: np.ndarray, *rest: Any
        ) -> np.ndarray:
            maps = activations[0].reshape(activations.shape[1], -1).T.astype(np.float64)  # [h w, D]
            maps = maps - maps.mean(0)
            left, strength, _ = np.linalg.svd(maps, full_matrices=False)
            component = left[:, 0] * strength[0]
            component *= -1 if -component.min() > component.max() else 1
            return component.reshape(1, *activations.shape[2:]).astype(np.float32)

    return {"grad_cam": library.GradCAM, "score_cam": ScoreCAM, "eigen_cam": EigenCAM}


def _library() -> Any:
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise UserError(
            f"explanations need pytorch-grad-cam ({error}); install it with: pip install 'ssl_zoo[explain]'"
        ) from None
    return pytorch_grad_cam
