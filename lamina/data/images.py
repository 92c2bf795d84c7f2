"""Pictures: from files, as (channels, height, width) with values in 0..1, and made to fit a system.

A picture's values are kept as they are: 0 is black. Transparent parts become white, phone photos are turned upright,
16-bit pictures keep their brightness.
"""

import functools
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lamina.core import Batch
from lamina.data.examples import Examples, Mapped

SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in gray, ITU-R BT.601, as in Pillow
LONGEST = 256  # pixels; the pictures of a folder are read no larger, as a camera's would fill the memory
SAMPLE = 1000  # pictures of a folder that are looked at to find the common size


def read_image(path: Path, shape: Sequence[int]) -> Float[Tensor, "channels height width"]:
    """Return a picture in the given shape, values in 0..1.

    Raises:
        ValueError: it cannot be read, or the shape is not that of a picture.
    """
    return decode(path, shape).float().div_(255)


def decode(path: Path, shape: Sequence[int]) -> UInt8[Tensor, "channels height width"]:
    """Return a picture in the given shape, values in 0..255.

    Raises:
        ValueError: it cannot be read, or the shape is not that of a picture.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"{path} is a picture, which cannot become {words(shape)}")
    channels, height, width = shape
    mode = "L" if channels == 1 else "RGB"
    try:
        with Image.open(path) as file:
            file.draft(mode, (width, height))  # a JPEG is unpacked no larger than needed
            picture = opaque(ImageOps.exif_transpose(file)).convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the picture {path}: {why(error)}") from None
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture).reshape(height, width, channels)).permute(2, 0, 1).contiguous()


def opaque(picture: Image.Image) -> Image.Image:
    """Return a picture on white where it was transparent, with 8 bits a channel."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def common_shape(paths: Sequence[Path]) -> tuple[int, int, int]:
    """Return (channels, height, width) for pictures that may differ: color if one is, and the commonest size.

    Says what is changed if they differ, or if they are shrunk to `LONGEST`.

    Raises:
        ValueError: one cannot be read.
    """
    looked = paths[:: max(1, len(paths) // SAMPLE)]
    found = [look(path) for path in looked]
    sizes = Counter(size for _, size in found)
    (width, height), common = sizes.most_common(1)[0]
    shrink = min(1.0, LONGEST / max(width, height))
    shape = (
        3 if any(color for color, _ in found) else 1,
        max(1, round(height * shrink)),
        max(1, round(width * shrink)),
    )
    if common < len(found):
        say(f"pictures differ in size: {len(found) - common} of {len(found)} looked at are not {width}x{height}")
    if len(sizes) > 1 or shrink < 1:
        say(f"pictures are read at {shape[2]}x{shape[1]}")
    return shape


def look(path: Path) -> tuple[bool, tuple[int, int]]:
    """Return whether a picture has color, and its (width, height), from its head alone."""
    try:
        with Image.open(path) as picture:
            color = picture.mode not in ("1", "L", "LA", "F") and not picture.mode.startswith("I")
            turned = picture.getexif().get(0x0112, 1) >= 5  # the tag of orientation: on its side
            return color, picture.size[::-1] if turned else picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the picture {path}: {why(error)}") from None


def fit_to(examples: Examples, shape: Sequence[int]) -> Examples:
    """Return examples whose `x` has the given shape; says so if that changes them.

    Pictures are resized and turned to gray or color; rows become pictures of as many values, and the reverse.

    Raises:
        ValueError: it cannot be done.
    """
    wanted = tuple(shape)
    have = tuple(examples.fetch(torch.zeros(1, dtype=torch.int64))["x"].shape[1:])
    if have == wanted:
        return examples
    pictures = len(have) == len(wanted) == 3 and have[0] in (1, 3, wanted[0]) and wanted[0] in (1, 3, have[0])
    if not pictures and math.prod(have) != math.prod(wanted):
        raise ValueError(f"the data has {words(have)} where the system needs {words(wanted)}")
    say(f"{words(have)} are {'made to fit' if pictures else 'read as'} {words(wanted)}")
    change = fitted if pictures else reshaped
    return Mapped(examples, functools.partial(change, shape=wanted))


def fitted(batch: Batch, shape: tuple[int, ...]) -> Batch:
    """Return a batch whose pictures have the given shape."""
    x, (channels, height, width) = batch["x"], shape
    if x.shape[1] == 3 and channels == 1:
        x = (x * x.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    if x.shape[2:] != (height, width):
        x = F.interpolate(x, (height, width), mode="bilinear", antialias=True)
    return batch | {"x": x.expand(-1, channels, -1, -1)}


def reshaped(batch: Batch, shape: tuple[int, ...]) -> Batch:
    """Return a batch whose `x` has the given shape."""
    return batch | {"x": batch["x"].reshape(-1, *shape)}


def as_input(x: Tensor) -> Tensor:
    """Return an array of examples in the library's form: float32, pictures as (channels, height, width), bytes in 0..1.

    Three axes are gray pictures; of four, the last is the channels if it is 1 or 3 and the second is not.
    """
    if x.dim() == 3:
        x = x.unsqueeze(1)
    elif x.dim() == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.permute(0, 3, 1, 2)
    return x.float().div_(255) if x.dtype == torch.uint8 else x.float()


def words(shape: Iterable[Any]) -> str:
    """Return a shape in words, for messages."""
    sizes = list(shape)
    if len(sizes) == 1:
        return f"rows of {sizes[0]} numbers"
    return f"pictures of {'x'.join(map(str, sizes))}" if len(sizes) == 3 else f"arrays of {'x'.join(map(str, sizes))}"


def why(error: BaseException) -> str:
    """Return in one line why a picture cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return "this is no picture, or of an unknown format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__


def say(message: str) -> None:
    """Tell the user what was done to the data."""
    print(message, file=sys.stderr)
