"""Scenes under the sky. Each takes (rng, width, height, light) and returns an RGB image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .canvas import (
    Colour,
    Light,
    Pixels,
    doubled,
    glow,
    gradient,
    image_of,
    mix,
    noise,
    pixels_of,
    rgb,
)

_SKIES: tuple[tuple[tuple[Colour, ...], ...], ...] = (
    (((52, 58, 72), (98, 104, 116), (142, 142, 146)), ((30, 34, 52), (70, 66, 88), (120, 96, 104))),
    (((118, 150, 186), (168, 188, 204), (214, 216, 212)), ((96, 122, 150), (180, 188, 190))),
    (
        ((44, 128, 220), (126, 190, 242), (220, 238, 250)),
        ((70, 84, 176), (240, 150, 120), (255, 214, 140)),
    ),
)


def mountains(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """Ridges behind each other above a lake."""
    sky = _sky(rng, width, height, light)
    image = image_of(sky)
    far, near = light.pick(
        ((116, 122, 134), (34, 38, 46)),
        ((150, 168, 182), (52, 72, 66)),
        ((134, 160, 204), (36, 84, 60)),
    )
    draw = ImageDraw.Draw(image)
    layers = int(rng.integers(3, 6))
    for layer in range(layers):
        share = layer / (layers - 1)
        base = height * (0.42 + 0.2 * share)
        ridge = _ridge(rng, width, 3 + layer, height * (0.3 - 0.14 * share))
        outline = [(x, base - ridge[x]) for x in range(0, width, 4)]
        draw.polygon(
            [(0, height), *outline, (width, base), (width, height)], fill=mix(far, near, share)
        )
    return _lake(rng, image, round(height * rng.uniform(0.68, 0.76)))


def city(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """A skyline with lit windows and a street in front."""
    image = image_of(_sky(rng, width, height, light))
    draw = ImageDraw.Draw(image)
    far, near = light.pick(
        ((92, 94, 108), (28, 28, 38)),
        ((158, 166, 176), (70, 76, 88)),
        ((150, 150, 190), (64, 54, 92)),
    )
    ground = height * 0.84
    for row in range(3):
        x = -float(rng.uniform(0, 60))
        while x < width:
            wide = float(rng.uniform(0.06, 0.15) * width)
            top = ground - float(rng.uniform(0.14, 0.5) * height) * (1.25 - 0.3 * row)
            wall = mix(far, near, row / 2)
            draw.rectangle((x, top, x + wide, ground), fill=wall)
            _windows(rng, draw, (x, top, x + wide, ground), wall, light)
            x += wide * float(rng.uniform(1.0, 1.25))
    draw.rectangle((0, ground, width, height), fill=mix(near, (20, 20, 24), 0.6))
    stripe = max(6, height // 60)
    for x in range(-width // 8, width, width // 6):
        place = (ground + height) / 2
        draw.rectangle((x, place, x + width // 11, place + stripe), fill=(226, 216, 170))
    return image


def sea(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """Water to the horizon, sand in front, a sailing boat and a parasol."""
    pixels = _sky(rng, width, height, light)
    horizon, shore = round(height * rng.uniform(0.4, 0.5)), round(height * 0.76)
    deep, shallow = light.pick(
        ((38, 52, 66), (82, 98, 106)),
        ((58, 108, 140), (122, 166, 176)),
        ((18, 96, 168), (98, 206, 208)),
    )
    pixels[horizon:shore] = gradient(width, shore - horizon, [deep, shallow])
    waves = noise(rng, width, shore - horizon, 10, 4)
    rows = np.linspace(6, 60, shore - horizon, dtype=np.float32)[:, None]
    crests = np.clip(np.sin(np.cumsum(rows, axis=0) / 34 + 9 * waves) - 0.72, 0, 1)
    pixels[horizon:shore] += 190 * crests[..., None]
    sand = noise(rng, width, height - shore, 60, 3)[..., None]
    pixels[shore:] = rgb(light.pick((142, 132, 120), (206, 188, 152), (240, 212, 152))) * (
        0.84 + 0.24 * sand
    )
    image = image_of(pixels)
    _boat(image, (rng.uniform(0.12, 0.88) * width, horizon + height * 0.05), height * 0.16, light)
    _parasol(rng, image, (rng.uniform(0.2, 0.8) * width, shore + height * 0.1), height * 0.24)
    return image


def space(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """Stars, a nebula and a banded planet, sometimes with a ring."""
    tint = light.pick((40, 24, 70), (30, 44, 78), (96, 40, 120))
    cloud = doubled(noise(rng, width // 2, height // 2, 4, 5)[..., None]) ** 2
    pixels = rgb((8, 8, 20)) + cloud * rgb(tint) * 1.6
    for _ in range(420):
        x, y = int(rng.integers(width - 3)), int(rng.integers(height - 3))
        size = int(rng.integers(1, 4))
        pixels[y : y + size, x : x + size] = rng.uniform(120, 255)
    # The whole planet lies inside the picture.
    radius = min(width, height) * float(rng.uniform(0.17, 0.26))
    centre = (width * float(rng.uniform(0.3, 0.7)), height * float(rng.uniform(0.42, 0.58)))
    pixels = glow(
        pixels, centre, radius * 1.35, light.pick((70, 60, 110), (90, 120, 160), (255, 190, 120))
    )
    first, second = light.pick(
        ((92, 84, 110), (58, 54, 84)),
        ((150, 166, 176), (96, 118, 140)),
        ((240, 168, 92), (204, 96, 72)),
    )
    image = image_of(_planet(rng, pixels, centre, radius, (first, second)))
    if rng.random() < 0.6:
        _ring(image, centre, radius, mix(first, (255, 240, 220), 0.5))
    return image


def _sky(rng: np.random.Generator, width: int, height: int, light: Light) -> Pixels:
    choices = _SKIES[light.mood + 1]
    wide, tall = width // 2, height // 2
    pixels = gradient(wide, tall, choices[int(rng.integers(len(choices)))])
    place = (wide * float(rng.uniform(0.1, 0.9)), tall * float(rng.uniform(0.16, 0.4)))
    disc = light.pick((186, 186, 196), (244, 240, 226), (255, 236, 170))
    pixels = glow(pixels, place, tall * light.pick(0.08, 0.14, 0.3), disc)
    pixels = glow(pixels, place, tall * 0.045, (255, 252, 240))
    veil = np.clip(noise(rng, wide, tall, 3, 5) - light.pick(0.4, 0.55, 0.6), 0, 1)[..., None]
    cloud = rgb(light.pick((70, 74, 84), (238, 240, 242), (255, 252, 250)))
    return doubled(pixels + (cloud - pixels) * np.clip(2.2 * veil, 0, 0.85))


def _ridge(rng: np.random.Generator, width: int, peaks: int, tall: float) -> Pixels:
    """Return heights (W,) in pixels of a jagged ridge."""
    total = np.zeros(width)
    for octave in range(5):
        number = peaks * 2**octave + 1
        knots = rng.random(number)
        total += np.interp(np.linspace(0, number - 1, width), np.arange(number), knots) / 2**octave
    return tall * (total - total.min()) / max(float(np.ptp(total)), 1e-9)


def _lake(rng: np.random.Generator, image: Image.Image, shore: int) -> Image.Image:
    pixels = pixels_of(image)
    height, width = pixels.shape[:2]
    depth = min(height - shore, shore)
    mirrored = pixels[shore - depth : shore][::-1]
    ripple = np.rint(14 * (noise(rng, width, depth, 40, 2) - 0.5)).astype(int)
    columns = np.clip(np.arange(width)[None, :] + ripple, 0, width - 1)
    water = mirrored[np.arange(depth)[:, None], columns]
    pixels[shore : shore + depth] = 0.72 * water + rgb((12, 22, 34))
    return image_of(pixels)


def _windows(
    rng: np.random.Generator,
    draw: ImageDraw.ImageDraw,
    wall: tuple[float, float, float, float],
    colour: Colour,
    light: Light,
) -> None:
    left, top, right, bottom = wall
    step = max(16.0, (right - left) / 6)
    lit = light.pick(0.4, 0.2, 0.5)
    for y in np.arange(top + step * 0.5, bottom - step, step * 1.25):
        for x in np.arange(left + step * 0.35, right - step * 0.6, step):
            bright = rng.random() < lit
            fill = (255, 222, 140) if bright else mix(colour, (16, 20, 34), 0.35)
            draw.rectangle((x, y, x + step * 0.5, y + step * 0.7), fill=fill)


def _boat(image: Image.Image, place: tuple[float, float], size: float, light: Light) -> None:
    x, y = place
    draw = ImageDraw.Draw(image)
    hull = [
        (x - size / 2, y),
        (x + size / 2, y),
        (x + size / 3, y + size / 5),
        (x - size / 3, y + size / 5),
    ]
    draw.polygon(hull, fill=light.pick((60, 44, 44), (128, 70, 54), (186, 54, 44)))
    draw.polygon([(x, y - size), (x, y - 6), (x + size / 2.4, y - 6)], fill=(246, 244, 236))
    draw.polygon(
        [(x - 6, y - size * 0.9), (x - 6, y - 6), (x - size / 3, y - 6)], fill=(222, 218, 210)
    )


def _parasol(
    rng: np.random.Generator, image: Image.Image, place: tuple[float, float], size: float
) -> None:
    x, y = place
    draw = ImageDraw.Draw(image)
    draw.line((x, y - size, x, y + size * 0.3), fill=(238, 232, 220), width=max(5, int(size / 26)))
    stripe = tuple(int(value) for value in rng.integers(40, 230, 3))
    box = (x - size * 0.7, y - size * 1.2, x + size * 0.7, y - size * 0.1)
    for index in range(6):
        fill = stripe if index % 2 else (250, 248, 240)
        draw.pieslice(box, 180 + 30 * index, 210 + 30 * index, fill=fill)


def _planet(
    rng: np.random.Generator,
    pixels: Pixels,
    centre: tuple[float, float],
    radius: float,
    colours: tuple[Colour, Colour],
) -> Pixels:
    size = int(2 * radius) + 2
    left, top = int(centre[0] - size / 2), int(centre[1] - size / 2)
    axis = ((np.arange(size) - size / 2 + 0.5) / radius).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    inside = np.clip((1 - np.hypot(x, y)) * radius, 0, 1)[..., None]
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    waves = y + 0.12 * noise(rng, size, size, 5, 3)
    bands = 0.5 + 0.5 * np.sin(np.float32(rng.uniform(7, 14)) * waves)
    surface = rgb(colours[0]) + (rgb(colours[1]) - rgb(colours[0])) * bands[..., None]
    lit = np.clip(-0.55 * x - 0.4 * y + 0.68 * z, 0.04, 1)[..., None]
    patch = pixels[top : top + size, left : left + size]
    pixels[top : top + size, left : left + size] = patch + (surface * lit * 1.15 - patch) * inside
    return pixels


def _ring(
    image: Image.Image, centre: tuple[float, float], radius: float, colour: tuple[int, int, int]
) -> None:
    draw = ImageDraw.Draw(image)
    for factor in (1.45, 1.58, 1.7):
        box = (
            centre[0] - radius * factor,
            centre[1] - radius * factor * 0.26,
            centre[0] + radius * factor,
            centre[1] + radius * factor * 0.26,
        )
        draw.arc(box, -22, 202, fill=colour, width=max(4, int(radius / 22)))
