"""Color tiles of real photographs, 32x32, out of the pictures that the Debian package of GCompris brings.

Natural images for learning without labels: dictionaries, auto-encoders, generators. Photographs are told from drawings
by their many colors, and from cut-outs by their missing transparency. Each is shrunk so that its short side is 32, 64,
128, 256 and 512 pixels, and cut into tiles side by side; tiles with next to no contrast are left out. Photographs, not
tiles, are dealt to the splits, so that no test tile shows a part of a training photograph.
"""

import io
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lamina.data.dataset import Data, split
from lamina.data.examples import Arrays, whole
from lamina.data.fetch import Debian, File, Https, cache, deb_members, fetch

PACKAGE = "gcompris-qt-data_3.1-2_all.deb"
SHA256 = "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f"
POOL = "pool/main/g/gcompris-qt/" + PACKAGE
FILE = File(
    f"photos/{PACKAGE}",
    SHA256,
    (
        Debian("gcompris-qt-data=3.1-2"),
        Https("https://deb.debian.org/debian/" + POOL),
        Https("https://snapshot.debian.org/archive/debian/20230701T000000Z/" + POOL),
    ),
)
PACKS = (  # the package's resource files that have photographs
    *("categorization", "clickgame", "erase", "explore_farm_animals", "explore_monuments"),
    *("explore_world_animals", "explore_world_music"),
)
SIDE = 32
SHORT_SIDES = (32, 64, 128, 256, 512)  # of the shrunk photographs
COLORS = 250  # fewest distinct colors, of 32 shades a channel, in a photograph shrunk to 64x64
SAME = 0.98  # correlation of two photographs, shrunk to 16x16, that are one
CONTRAST = 8  # least standard deviation of a tile, in 1/255
TEST = 10  # one photograph in so many is for testing, and as many for validation


def photos(seed: int = 0) -> Data:
    """Tiles of photographs, 32x32 color, about 47,000 + 6,000, without labels; split by photograph.

    Args:
        seed: of the choice of validation photographs; those for testing are always the same.
    """
    tiles, photo = read_tiles()
    numbers = torch.arange(int(photo.max()) + 1)
    rest = Arrays(photo=numbers[numbers % TEST > 0])
    kept = [whole(part)["photo"].numpy() for part in split(rest, len(numbers) // TEST, seed)]

    def part(chosen: NDArray[np.int64]) -> Arrays:
        some = torch.from_numpy(tiles[np.isin(photo, chosen)])
        return Arrays(x=some.permute(0, 3, 1, 2).float().div_(255))

    train, valid = (part(chosen) for chosen in kept)
    return Data("photos", train, valid, part(numbers[numbers % TEST == 0].numpy()), (), {PACKAGE: SHA256})


def read_tiles() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all tiles (tiles, 32, 32, 3) and the number of each one's photograph, cut once and kept in the cache.

    Raises:
        FetchError: the package cannot be had.
    """
    package = fetch(FILE)
    kept = cache() / "photos" / f"tiles-{SHA256[:8]}.npz"
    if not kept.exists():
        chosen = distinct(photographs(package))
        found = [(tile, number) for number, photo in enumerate(chosen) for tile in cut(photo)]
        tiles, numbers = (np.stack(column) for column in zip(*found, strict=True))
        part = kept.with_name(f"{kept.stem}.{os.getpid()}.npz")
        np.savez(part, tiles=tiles, numbers=numbers)
        part.replace(kept)
    with np.load(kept) as arrays:
        return arrays["tiles"], arrays["numbers"]


def photographs(package: Path) -> Iterator[Image.Image]:
    """Yield the photographs of the package, in the order of their files."""
    for name, resources in sorted(deb_members(package)):
        if PurePosixPath(name).suffix == ".rcc" and PurePosixPath(name).stem in PACKS:
            for body in blobs(resources):
                if body[8:12] == b"WEBP" and is_photograph(picture := Image.open(io.BytesIO(body))):
                    yield picture.convert("RGB")


def blobs(resources: bytes) -> Iterator[bytes]:
    """Yield the contents of the files in a Qt resource file (.rcc).

    Its head names, in 32-bit numbers, where the tree of files, their contents and their names begin; the contents stand
    one after the other, each behind its length.
    """
    tree, at, names = struct.unpack_from(">III", resources, 8)
    end = min(place for place in (tree, names, len(resources)) if place > at)
    while at < end:
        (size,) = struct.unpack_from(">I", resources, at)
        yield resources[at + 4 : at + 4 + size]
        at += 4 + size


def is_photograph(picture: Image.Image) -> bool:
    """Return whether a picture is large, opaque, and of many colors."""
    if min(picture.size) < 4 * SIDE or (picture.mode == "RGBA" and np.asarray(picture)[..., 3].min() < 250):
        return False
    shades = np.asarray(picture.convert("RGB").resize((64, 64))).reshape(-1, 3) // 8
    return len(np.unique(shades, axis=0)) >= COLORS


def distinct(photos: Iterable[Image.Image]) -> list[Image.Image]:
    """Return the photographs without those that are there in a larger size too."""
    ordered = sorted(photos, key=lambda photo: -photo.width)
    looks = np.stack([np.asarray(photo.resize((16, 16)), np.float64).ravel() for photo in ordered])
    twins = {row for row, column in np.argwhere(np.corrcoef(looks) > SAME).tolist() if column < row}
    return [photo for row, photo in enumerate(ordered) if row not in twins]


def cut(photo: Image.Image) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles with some contrast of a photograph at each of its sizes."""
    for short in SHORT_SIDES:
        if short <= (smaller := min(photo.size)):
            width, height = (round(size * short / smaller) for size in photo.size)
            pixels = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
            for top in range(0, height - SIDE + 1, SIDE):
                for left in range(0, width - SIDE + 1, SIDE):
                    tile = pixels[top : top + SIDE, left : left + SIDE]
                    if tile.std() > CONTRAST:
                        yield tile
