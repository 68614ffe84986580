"""SwinIR, image restoration with shifted-window attention."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from wildsr.config import Positive
from wildsr.networks.network import Config, Network, Shapes, Site, conv3, count, named, pad_to_multiple, parts, shuffle

MEAN = (0.4488, 0.4371, 0.4040)
"""DIV2K's mean colour, subtracted from the input and added to the output."""

FEATURES = 64
"""Channels of the upsampling part."""


class SwinIRConfig(Config, frozen=True):
    """SwinIR (Liang et al. 2021). The defaults are its real-world ×4 model of medium size (11,715,559 parameters).

    upsampler: "nearest+conv" (real-world; ×2 and ×4), "pixelshuffle" (classical; 11,900,199 parameters) or "pixelshuffledirect"
    (lightweight; 929,628 with embed_dim 60, four stages of depth 6).
    img_size: the LR side that the published buffers are made for; it changes keys' shapes, and a result only where it is no larger than
    the window: windows are then not shifted.
    drop_path: stochastic depth at the last layer, rising linearly from 0. The published trainings use 0.1; here it is 0, because it is a
    dropout itself and would stand in every comparison with one."""

    name: Literal["swinir"] = "swinir"
    upsampler: Literal["nearest+conv", "pixelshuffle", "pixelshuffledirect"] = "nearest+conv"
    embed_dim: Positive = 180
    depths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (6,) * 6
    """Layers of each stage."""
    heads: tuple[Positive, ...] = (6,) * 6
    """Attention heads of each stage."""
    window: Annotated[int, Field(ge=2)] = 8
    mlp_ratio: Annotated[float, Field(gt=0)] = 2.0
    img_size: Positive = 64
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _check(self) -> "SwinIRConfig":
        if len(self.heads) != len(self.depths):
            raise ValueError(f"heads = {list(self.heads)} and depths = {list(self.depths)} must be as many: one value a stage")
        if any(self.embed_dim % heads for heads in self.heads):
            raise ValueError(f"embed_dim = {self.embed_dim} must be a multiple of every number of heads ({list(self.heads)})")
        if self.upsampler == "nearest+conv" and self.scale == 3:
            raise ValueError('upsampler = "nearest+conv" is made for ×2 and ×4: use "pixelshuffle" for ×3')
        if self.img_size % self.window:
            raise ValueError(f"img_size = {self.img_size} must be a multiple of window = {self.window}")
        return self

    @property
    def size(self) -> str:
        """The sizes in a phrase."""
        return f"{self.upsampler}, {self.embed_dim} channels, stages of {', '.join(map(str, self.depths))} layers"


Side = int | torch.SymInt
"""A height or width; a symbol where the network is exported for all of them."""


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for each relative position: (B, windows, w², E) -> (B, windows, w², E)."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(
        self, x: Float[Tensor, "b windows n e"], apart: Bool[Tensor, "windows n n"] | None = None
    ) -> Float[Tensor, "b windows n e"]:
        b, windows, n, channels = x.shape
        q, k, v = self.qkv(x).view(b, windows, n, 3, self.heads, channels // self.heads).permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()].view(n, n, self.heads).permute(2, 0, 1)
        if apart is not None:
            bias = bias + apart.to(bias.dtype).unsqueeze(1) * -100
        if torch.compiler.is_exporting():
            # ONNX's exporter knows attention of four axes alone; in its parts, it is the same sum on five.
            x = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias.to(q.dtype)).softmax(-1) @ v
        else:
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(x.transpose(2, 3).reshape(b, windows, n, channels))


def relative_positions(window: int) -> Int[Tensor, "n n"]:
    """Which row of the bias table serves query i and key j of a window, read row by row."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return (y[:, None] - y + window - 1) * (2 * window - 1) + (x[:, None] - x + window - 1)


def windows_of(x: Tensor, window: int) -> Tensor:
    """(B, H, W, E) -> (B, windows, window², E), windows and their pixels row by row."""
    b, h, w, channels = x.shape
    x = x.view(b, h // window, window, w // window, window, channels)
    return x.transpose(2, 3).reshape(b, -1, window * window, channels)


def from_windows(x: Tensor, h: Side, w: Side, window: int) -> Tensor:
    """The inverse of `windows_of`."""
    b, _, _, channels = x.shape
    return x.view(b, h // window, w // window, window, window, channels).transpose(2, 3).reshape(b, h, w, channels)


def shift_mask(h: Side, w: Side, window: int, shift: int, device: torch.device | None = None) -> Bool[Tensor, "windows n n"]:
    """True where two pixels of a window, after a cyclic shift, come from opposite borders of the picture and must not meet."""

    def region(side: Side) -> Tensor:
        place = torch.arange(side, device=device)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return (place >= side - window).long() + (place >= side - shift).long()

    regions = (3 * region(h)[:, None] + region(w)).view(1, h, w, 1)
    inside = windows_of(regions, window).view(-1, window * window)
    return inside[:, :, None] != inside[:, None]


class MLP(nn.Module):
    """fc2(gelu(fc1(x))) on the last axis."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Float[Tensor, "*shape e"]) -> Float[Tensor, "*shape e"]:
        return self.fc2(F.gelu(self.fc1(x)))


class SwinLayer(nn.Module):
    """Windowed attention and an MLP, each behind a normalisation and added: (B, H, W, E) -> (B, H, W, E)."""

    def __init__(self, config: SwinIRConfig, heads: int, *, shifted: bool, drop_path: float) -> None:
        super().__init__()
        channels = config.embed_dim
        self.window, self.drop_path = config.window, drop_path
        # A picture of a single window has nothing to shift; the published layers decide it by img_size.
        self.shift = config.window // 2 if shifted and config.img_size > config.window else 0
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, config.window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, int(channels * config.mlp_ratio))
        if self.shift:
            # Part of the published key layout. What masks is made anew for each picture's size, by `shift_mask`.
            apart = shift_mask(config.img_size, config.img_size, config.window, self.shift)
            self.register_buffer("attn_mask", torch.zeros(apart.shape).masked_fill(apart, -100.0))

    def forward(self, x: Float[Tensor, "b h w e"], apart: Bool[Tensor, "windows n n"]) -> Float[Tensor, "b h w e"]:
        x = x + self._dropped(self._attend(self.norm1(x), apart))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor, apart: Tensor) -> Tensor:
        _, h, w, _ = x.shape
        if not self.shift:
            return from_windows(self.attn(windows_of(x, self.window)), h, w, self.window)
        x = x.roll((-self.shift, -self.shift), (1, 2))
        x = from_windows(self.attn(windows_of(x, self.window), apart), h, w, self.window)
        return x.roll((self.shift, self.shift), (1, 2))

    def _dropped(self, branch: Tensor) -> Tensor:
        """Stochastic depth: in training, a sample's branch is left out with probability drop_path."""
        if not self.training or self.drop_path == 0:
            return branch
        kept = torch.rand((len(branch), 1, 1, 1), device=branch.device) >= self.drop_path
        return branch * (kept / (1 - self.drop_path)).to(branch.dtype)


class LayerStack(nn.Module):
    """Layers, every second one shifted by half a window: (B, H, W, E) -> (B, H, W, E)."""

    def __init__(self, config: SwinIRConfig, heads: int, drop_paths: list[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinLayer(config, heads, shifted=i % 2 == 1, drop_path=drop_path) for i, drop_path in enumerate(drop_paths)
        )

    def forward(self, x: Float[Tensor, "b h w e"], apart: Bool[Tensor, "windows n n"]) -> Float[Tensor, "b h w e"]:
        for block in self.blocks:
            x = block(x, apart)
        return x


class Stage(nn.Module):
    """Layers, a convolution and a sum (RSTB): (B, E, H, W) -> (B, E, H, W)."""

    def __init__(self, config: SwinIRConfig, heads: int, drop_paths: list[float]) -> None:
        super().__init__()
        self.residual_group = LayerStack(config, heads, drop_paths)
        self.conv = conv3(config.embed_dim, config.embed_dim)

    def forward(self, x: Float[Tensor, "b e h w"], apart: Bool[Tensor, "windows n n"]) -> Float[Tensor, "b e h w"]:
        return x + self.conv(self.residual_group(x.permute(0, 2, 3, 1), apart).permute(0, 3, 1, 2))


class PatchEmbedding(nn.Module):
    """Normalisation of the shallow features, a pixel a patch: (B, H, W, E) -> (B, H, W, E)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "b h w e"]) -> Float[Tensor, "b h w e"]:
        return self.norm(x)


class SwinIR(Network):
    """SwinIR (Liang et al. 2021) in the key layout of the authors' code and of BasicSR, resi_connection "1conv".

    Sides that are no multiple of the window are padded by reflection, and the result is cut."""

    derived = ("attn_mask", "relative_position_index")
    mean: Tensor

    def __init__(self, config: SwinIRConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.embed_dim
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        rates = torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").tolist()
        starts = [sum(config.depths[:i]) for i in range(len(config.depths))]
        self.conv_first = conv3(3, channels)
        self.patch_embed = PatchEmbedding(channels)
        self.layers = nn.ModuleList(
            Stage(config, heads, rates[start : start + depth])
            for heads, start, depth in zip(config.heads, starts, config.depths, strict=True)
        )
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = conv3(channels, channels)
        if config.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(conv3(channels, 3 * config.scale**2), nn.PixelShuffle(config.scale))
        else:
            self.conv_before_upsample = nn.Sequential(conv3(channels, FEATURES), nn.LeakyReLU())
            if config.upsampler == "pixelshuffle":
                steps = (2, 2) if config.scale == 4 else (config.scale,)
                self.upsample = nn.Sequential(*(part for r in steps for part in (conv3(FEATURES, FEATURES * r**2), nn.PixelShuffle(r))))
            else:
                self.conv_up1 = conv3(FEATURES, FEATURES)
                if config.scale == 4:
                    self.conv_up2 = conv3(FEATURES, FEATURES)
                self.conv_hr = conv3(FEATURES, FEATURES)
            self.conv_last = conv3(FEATURES, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def sites(self) -> dict[str, tuple[Site, ...]]:
        """first (output of conv_first), block1 … blockN (the stages), hr with nearest+conv, last, and the groups of parts. A stage has one
        convolution: the layout "conv1" drops before it, "conv2" after it."""
        direct = self.config.upsampler == "pixelshuffledirect"
        stages, last = [f"layers.{i}" for i in range(len(self.config.depths))], Site("upsample.0" if direct else "conv_last", "input")
        inside, end = [Site(f"{stage}.conv", "input") for stage in stages], [Site(f"{stage}.conv", "output") for stage in stages]
        hr = {"hr": (Site("conv_hr", "input"),)} if self.config.upsampler == "nearest+conv" else {}
        return {"first": (Site("conv_first", "output"),), **named(stages), **hr, "last": (last,), **parts(inside, end, last)}

    @property
    def radius(self) -> None:
        """The whole picture, for windows shift: in the published sizes it reaches farther than any tile."""
        return None

    @property
    def draws(self) -> bool:
        """With stochastic depth."""
        return self.config.drop_path > 0

    @property
    def grid(self) -> int:
        """The windows."""
        return self.config.window

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        h, w = x.shape[-2:]
        x = pad_to_multiple(x, self.config.window)
        x = self._upscale(self._features(x - self.mean)) + self.mean
        return x[..., : h * self.config.scale, : w * self.config.scale]

    def _features(self, x: Tensor) -> Tensor:
        shallow = self.conv_first(x)
        apart = shift_mask(x.shape[-2], x.shape[-1], self.config.window, self.config.window // 2, x.device)
        x = self.patch_embed(shallow.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        for stage in self.layers:
            x = stage(x, apart)
        return shallow + self.conv_after_body(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    def _upscale(self, x: Tensor) -> Tensor:
        if self.config.upsampler == "pixelshuffledirect":
            return self.upsample(x)
        x = self.conv_before_upsample(x)
        if self.config.upsampler == "pixelshuffle":
            return self.conv_last(self.upsample(x))
        x = F.leaky_relu(self.conv_up1(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        if self.config.scale == 4:
            x = F.leaky_relu(self.conv_up2(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))

    @staticmethod
    def recognise(shapes: Shapes) -> SwinIRConfig | None:
        """The config that fits keys and shapes, or None when they are another network's. Where no mask tells img_size, it is eight
        windows, as published, or the single one of a network that never shifts."""
        first, hidden = shapes.get("conv_first.weight", ()), shapes.get("layers.0.residual_group.blocks.0.mlp.fc1.weight", ())
        stages = count(shapes, "layers.", ".conv.weight")
        tables = [shapes.get(f"layers.{i}.residual_group.blocks.0.attn.relative_position_bias_table", ()) for i in range(stages)]
        depths = tuple(count(shapes, f"layers.{i}.residual_group.blocks.", ".norm1.weight") for i in range(stages))
        if not stages or len(first) != 4 or len(hidden) != 2 or any(len(table) != 2 for table in tables) or not all(depths):
            return None
        window = (round(tables[0][0] ** 0.5) + 1) // 2
        masks = [shape for key, shape in shapes.items() if key.endswith(".attn_mask")]
        # A network of a single window has no masks; a file without any of the buffers was stripped of them.
        single = not masks and max(depths) > 1 and any(key.endswith(".relative_position_index") for key in shapes)
        img_size = round(masks[0][0] ** 0.5) * window if masks else window if single else 8 * window
        if "conv_up1.weight" in shapes:
            upsampler, scale = "nearest+conv", 4 if "conv_up2.weight" in shapes else 2
        elif "conv_before_upsample.0.weight" in shapes:
            upsampler = "pixelshuffle"
            scale = 4 if "upsample.2.weight" in shapes else shuffle(shapes.get("upsample.0.weight", (0,))[0], FEATURES)
        else:
            upsampler, scale = "pixelshuffledirect", shuffle(shapes.get("upsample.0.weight", (0,))[0], 3)
        if not scale:
            return None
        return SwinIRConfig(
            upsampler=upsampler,
            scale=scale,
            embed_dim=first[0],
            depths=depths,
            heads=tuple(table[1] for table in tables),
            window=window,
            mlp_ratio=_ratio(hidden[0], first[0]),
            img_size=img_size,
        )


def _ratio(hidden: int, channels: int) -> float:
    """The mlp_ratio that gives `hidden` again when it is multiplied and cut."""
    exact = hidden / channels
    return exact if int(channels * exact) == hidden else (hidden + 0.5) / channels
