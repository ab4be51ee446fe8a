"""MAE: hide three quarters of an image's patches and paint them back from the rest.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv 2111.06377.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.utils import (
    get_2d_sine_cosine_positional_embedding,
    get_at_index,
    normalize_mean_var,
    patchify,
    set_at_index,
)
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ssl_zoo.errors import UserError
from ssl_zoo.methods.base import Method, Output, in_float32
from ssl_zoo.methods.processes import uniform
from ssl_zoo.methods.recipe import Recipe


class MAE(Method):
    """A ViT sees the visible patches alone; a small decoder gets them and a token for each hidden patch.

    The target is each hidden patch, normalised by its own mean and deviation where `normalize_targets` says so:
    better in the paper's long runs (table 1d). Plain pixels are the quicker lesson for a run of hundreds of
    steps: in speckle, a patch's mean can be guessed long before its normalised pixels. `decoder_depth` 8 and
    `decoder_dim` 512 in the paper, beside a ViT-L of 24 blocks of 1024; the default stands beside a ViT of
    some 6 blocks of 192. `positions` "sincos" replaces the ViT's table of positions by the paper's fixed one,
    "keep" leaves the given table, for going on from trained weights.

    The ViT itself is run here and not lightly's wrapper of it, which draws the given weights anew, holds a
    mask token that nothing uses, and protects only the first of several prefix tokens from its mask.
    """

    family: ClassVar[str] = "masked"
    views: ClassVar[str] = "single"
    recipe: ClassVar[Recipe] = Recipe(
        optimizer="adamw",
        base_lr=1.5e-4,  # appendix A.1, table 8
        weight_decay=0.05,
        betas=(0.9, 0.95),
        warmup=0.05,  # 40 epochs of 800
    )
    scope: ClassVar = "sample"
    needs: ClassVar = "vit"
    heads: ClassVar[str] = "transformer of {decoder_depth} blocks of width {decoder_dim}, {decoder_heads} heads"
    paper: ClassVar[str] = "2111.06377"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        mask_ratio: float = 0.75,
        decoder_depth: int = 2,
        decoder_dim: int = 128,
        decoder_heads: int = 4,
        normalize_targets: bool = True,
        positions: str = "sincos",
    ) -> None:
        super().__init__(backbone)
        vit = cast(VisionTransformer, backbone)
        if not 0 < mask_ratio < 1:
            raise UserError(f"mae: mask_ratio must lie between 0 and 1, not {mask_ratio}")
        if positions not in ("sincos", "keep"):
            raise UserError(f"mae: positions must be 'sincos' or 'keep', not '{positions}'")
        self.mask_ratio = mask_ratio
        self.compare = normalized_error if normalize_targets else nn.functional.mse_loss
        self.patch = vit.patch_embed.patch_size[0]
        self.prefix = vit.num_prefix_tokens  # class and register tokens, never hidden
        self.patches = vit.patch_embed.num_patches
        if positions == "sincos":
            fix_positions(vit)

        channels = vit.patch_embed.proj.in_channels
        self.decoder_embed = nn.Linear(vit.embed_dim, decoder_dim)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            self.patches, decoder_dim, decoder_depth, decoder_heads, num_prefix_tokens=self.prefix
        )
        self.decoder_predict = nn.Linear(decoder_dim, self.patch**2 * channels)

    def forward(self, views: list[Tensor], scans: Tensor | None = None) -> Output:
        images = views[0]  # [B, C, H, W]
        self.check_batch(images)
        visible, hidden = random_mask(len(images), self.patches, self.mask_ratio, images.device)  # [B, V], [B, M]

        tokens = self.encode(images, visible)  # [B, P + V, D], P prefix tokens
        predictions = self.decode(tokens, visible, hidden)  # [B, M, patch * patch * C]

        targets = get_at_index(patchify(images.float(), self.patch), hidden)  # [B, M, patch * patch * C]
        loss = in_float32(self.compare, predictions, targets)
        features = cast(VisionTransformer, self.backbone).pool(tokens.detach())  # [B, D]
        return Output(loss, features, features)

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """The ViT's last tokens `[B, P + V, D]` from the visible patches `[B, V]` (indices among the
        patches).
        """
        vit = cast(VisionTransformer, self.backbone)
        tokens = vit._pos_embed(vit.patch_embed(images))  # [B, P + N, D]
        tokens = torch.cat([tokens[:, : self.prefix], get_at_index(tokens[:, self.prefix :], visible)], dim=1)
        tokens = vit.blocks(vit.norm_pre(tokens))
        return vit.fc_norm(vit.norm(tokens))  # a ViT that averages its patches has its last norm in fc_norm

    def decode(self, tokens: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Pixels of the hidden patches `[B, M, patch * patch * C]`."""
        embedded = self.decoder_embed(tokens)  # [B, P + V, E]
        batch, _, width = embedded.shape
        full = self.decoder.mask_token.to(embedded.dtype).expand(batch, self.patches, width)  # [B, N, E]
        full = set_at_index(full, visible, embedded[:, self.prefix :])
        full = torch.cat([embedded[:, : self.prefix], full], dim=1)  # [B, P + N, E]
        decoded = self.decoder.decode(self.decoder.add_pos_embed(full))
        return self.decoder_predict(get_at_index(decoded, hidden + self.prefix))


def random_mask(batch: int, patches: int, mask_ratio: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices of the visible `[B, V]` and the hidden `[B, M]` patches, drawn afresh for each image; both at
    least one.
    """
    kept = min(max(round(patches * (1 - mask_ratio)), 1), patches - 1)
    order = uniform(batch, patches, device=device).argsort(dim=1)
    return order[:, :kept], order[:, kept:]


def normalized_error(predictions: Tensor, patches: Tensor) -> Tensor:
    """Mean squared error to each patch normalised over its own pixels (unbiased variance, as released)."""
    return nn.functional.mse_loss(predictions, normalize_mean_var(patches, dim=-1, eps=1e-6))


def fix_positions(vit: VisionTransformer) -> None:
    """Fill a ViT's table of positions with fixed 2-D sines and cosines (zero for prefix tokens) and freeze
    it.
    """
    if vit.pos_embed is None:
        raise UserError("mae: this ViT has no table of positions; give positions='keep'")
    prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    table = get_2d_sine_cosine_positional_embedding(
        vit.pos_embed.shape[-1], vit.patch_embed.grid_size[0], num_prefix_tokens=prefix
    )  # [P + N, D]
    with torch.no_grad():
        vit.pos_embed.copy_(torch.as_tensor(table).unsqueeze(0))
    vit.pos_embed.requires_grad_(False)
