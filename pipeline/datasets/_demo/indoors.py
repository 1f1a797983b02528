"""Scenes with somebody or something in the middle; faces show the mood.

Each takes (rng, width, height, light) and returns an RGB image.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import Colour, Light, ball, doubled, glow, gradient, image_of, mix, noise, rgb, shadow

_FURS: tuple[Colour, ...] = (
    (226, 142, 66),
    (120, 116, 122),
    (58, 54, 60),
    (232, 222, 206),
    (150, 104, 70),
)
_PAINTS: tuple[Colour, ...] = (
    (70, 130, 180),
    (188, 74, 60),
    (90, 150, 96),
    (208, 168, 64),
    (124, 96, 168),
)
_FRUITS: tuple[Colour, ...] = (
    (206, 44, 40),
    (238, 142, 32),
    (124, 176, 52),
    (238, 206, 70),
    (126, 52, 110),
)


def cat(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """A cat's face in front of a wall."""
    image = _wall(rng, width, height, light)
    fur = _FURS[int(rng.integers(len(_FURS)))]
    x, y = width * float(rng.uniform(0.38, 0.62)), height * float(rng.uniform(0.52, 0.57))
    r = min(width, height) * float(rng.uniform(0.23, 0.29))
    image = shadow(image, (x - 1.5 * r, y + 1.1 * r, x + 1.5 * r, y + 1.9 * r))
    ball(image, (x, y + 1.75 * r), 1.15 * r, mix(fur, (0, 0, 0), 0.12))
    draw = ImageDraw.Draw(image)
    droop = light.pick(0.35, 0.12, 0.0) * r
    for side in (-1, 1):
        ear = [
            (x + side * r * 0.95, y - r * 0.25),
            (x + side * r * 0.85, y - r * 1.35 + droop),
            (x + side * r * 0.2, y - r * 0.85),
        ]
        draw.polygon(ear, fill=mix(fur, (0, 0, 0), 0.12))
        inner = [((px + x + side * r * 0.7) / 2, (py + y - r * 0.8) / 2) for px, py in ear]
        draw.polygon(inner, fill=(226, 150, 150))
    ball(image, (x, y), r, mix(fur, (255, 255, 255), 0.1))
    _cat_stripes(ImageDraw.Draw(image), (x, y), r, mix(fur, (0, 0, 0), 0.35))
    _face(image, (x, y), r, light, iris=light.pick((150, 160, 120), (120, 170, 90), (90, 190, 110)))
    draw = ImageDraw.Draw(image)
    for side in (-1, 1):
        for tilt in (-0.12, 0.02, 0.16):
            start = (x + side * r * 0.22, y + r * 0.3)
            end = (x + side * r * 1.2, y + r * (0.3 + tilt * 1.6))
            draw.line((*start, *end), fill=(245, 242, 236), width=max(3, int(r / 60)))
    return image


def robot(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """A robot with a screen for a face."""
    image = _wall(rng, width, height, light)
    paint = mix(_PAINTS[int(rng.integers(len(_PAINTS)))], (0, 0, 0), 0.0)
    x, y = width * float(rng.uniform(0.36, 0.64)), height * 0.5
    s = min(width, height) * float(rng.uniform(0.2, 0.25))
    image = shadow(image, (x - 1.4 * s, y + 1.7 * s, x + 1.4 * s, y + 2.3 * s))
    draw = ImageDraw.Draw(image)
    dark = mix(paint, (0, 0, 0), 0.35)
    draw.rounded_rectangle((x - 0.8 * s, y + 0.8 * s, x + 0.8 * s, y + 2.1 * s), s * 0.2, fill=dark)
    for side in (-1, 1):
        lift = light.pick(0.7, 0.35, -0.5) * s
        arm = (x + side * 0.8 * s, y + 1.1 * s, x + side * 1.5 * s, y + 1.1 * s + lift)
        draw.line(arm, fill=dark, width=int(s * 0.2))
        ball(image, arm[2:], s * 0.18, paint)
    draw = ImageDraw.Draw(image)
    draw.line((x, y - s, x, y - 1.5 * s), fill=dark, width=int(s * 0.08))
    draw.rounded_rectangle((x - s, y - s, x + s, y + 0.8 * s), s * 0.28, fill=paint)
    edge = mix(paint, (255, 255, 255), 0.35)
    draw.rounded_rectangle((x - s, y - s, x + s, y - 0.86 * s), s * 0.1, fill=edge)
    draw.rounded_rectangle(
        (x - 0.8 * s, y - 0.75 * s, x + 0.8 * s, y + 0.6 * s), s * 0.18, fill=(22, 28, 38)
    )
    ball(
        image,
        (x, y - 1.55 * s),
        s * 0.14,
        light.pick((120, 120, 200), (240, 200, 80), (90, 230, 120)),
    )
    _screen_face(ImageDraw.Draw(image), (x, y), s, light)
    return image


def desk(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """A laptop, a mug with steam and a lamp on a wooden desk."""
    image = _wall(rng, width, height, light)
    edge = round(height * float(rng.uniform(0.6, 0.68)))
    grain = noise(rng, width, height - edge, 5, 5)
    rings = 0.5 + 0.5 * np.sin(
        26 * grain + np.linspace(0, 9, height - edge, dtype=np.float32)[:, None]
    )
    wood = rgb((122, 82, 52)) + rings[..., None] * rgb((36, 26, 18))
    image.paste(image_of(wood), (0, edge))
    x, s = (
        width * float(rng.uniform(0.42, 0.62)),
        min(width, height) * float(rng.uniform(0.2, 0.26)),
    )
    image = shadow(image, (x - 1.4 * s, edge + 0.1 * s, x + 1.4 * s, edge + 0.75 * s))
    _laptop(rng, image, (x, edge + 0.3 * s), s, light)
    side = -1 if rng.random() < 0.5 else 1
    image = _mug(rng, image, (x + side * 1.75 * s, edge + 0.4 * s), s * 0.42)
    return _lamp(image, (x - side * 1.6 * s, edge + 0.15 * s), s, light)


def fruit(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    """A still life of fruit on a table."""
    image = _wall(rng, width, height, light)
    edge = round(height * float(rng.uniform(0.58, 0.66)))
    cloth = light.pick((96, 92, 98), (188, 178, 164), (214, 224, 232))
    weave = noise(rng, width, height - edge, 120, 2)[..., None]
    image.paste(image_of(rgb(cloth) * (0.8 + 0.3 * weave)), (0, edge))
    number = int(rng.integers(3, 7))
    places = np.linspace(0.2, 0.8, number) + rng.uniform(-0.04, 0.04, number)
    for place in rng.permutation(places):
        r = min(width, height) * float(rng.uniform(0.08, 0.14))
        x, y = width * float(place), edge + height * float(rng.uniform(0.0, 0.1)) - r * 0.3
        image = shadow(image, (x - r * 0.9, y + r * 0.7, x + r * 1.5, y + r * 1.25))
        colour = _FRUITS[int(rng.integers(len(_FRUITS)))]
        ball(image, (x, y), r, mix(colour, (96, 88, 84), light.pick(0.45, 0.1, 0.0)))
        draw = ImageDraw.Draw(image)
        draw.line(
            (x, y - r * 0.95, x + r * 0.12, y - r * 1.3),
            fill=(84, 58, 36),
            width=max(5, int(r / 11)),
        )
        draw.ellipse((x + r * 0.1, y - r * 1.32, x + r * 0.6, y - r * 1.08), fill=(78, 128, 52))
    return image


def _wall(rng: np.random.Generator, width: int, height: int, light: Light) -> Image.Image:
    tints: list[Colour] = light.pick(
        [(74, 80, 92), (86, 78, 92), (70, 82, 80)],
        [(164, 168, 160), (176, 164, 150), (150, 164, 176)],
        [(248, 206, 128), (150, 212, 226), (244, 172, 158), (178, 220, 156)],
    )
    tint = tints[int(rng.integers(len(tints)))]
    wide, tall = width // 2, height // 2
    pixels = gradient(wide, tall, [mix(tint, (255, 255, 255), 0.12), mix(tint, (0, 0, 0), 0.22)])
    place = (wide * float(rng.uniform(0.1, 0.9)), tall * 0.2)
    pixels = glow(pixels, place, wide * 0.3, mix(tint, (255, 255, 255), light.pick(0.1, 0.3, 0.5)))
    pixels *= 0.94 + 0.1 * noise(rng, wide, tall, 30, 4)[..., None]
    kind = int(rng.integers(3))
    step = int(rng.integers(wide // 16, wide // 7))
    columns, rows = np.arange(wide) // step % 2, np.arange(tall) // step % 2
    pattern = (columns[None, :], rows[:, None], columns[None, :] ^ rows[:, None])[kind]
    return image_of(doubled(pixels * (1 - 0.07 * pattern.astype(np.float32))[..., None]))


def _cat_stripes(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], r: float, colour: Colour
) -> None:
    x, y = centre
    for offset in (-0.24, 0.0, 0.24):
        top = (x + offset * r, y - r * (0.92 - abs(offset) * 0.3))
        bottom = (x + offset * r * 0.7, y - r * 0.58)
        draw.line((*top, *bottom), fill=mix(colour, colour, 0), width=max(6, int(r / 14)))


def _face(
    image: Image.Image, centre: tuple[float, float], r: float, light: Light, iris: Colour
) -> None:
    x, y = centre
    draw = ImageDraw.Draw(image)
    tall = light.pick(0.13, 0.2, 0.24) * r
    for side in (-1, 1):
        ex, ey = x + side * r * 0.4, y - r * 0.12
        draw.ellipse((ex - 0.2 * r, ey - tall, ex + 0.2 * r, ey + tall), fill=mix(iris, iris, 0))
        draw.ellipse((ex - 0.09 * r, ey - tall, ex + 0.09 * r, ey + tall), fill=(14, 14, 18))
        draw.ellipse(
            (ex - 0.09 * r, ey - 0.6 * tall, ex - 0.01 * r, ey - 0.2 * tall), fill=(255, 255, 255)
        )
        slope = light.pick(0.14, 0.0, -0.05) * r
        brow = (
            ex - side * 0.22 * r,
            ey - tall - 0.02 * r + slope * 0.2,
            ex + side * 0.2 * r,
            ey - tall + slope,
        )
        draw.line(brow, fill=(40, 34, 34), width=max(5, int(r / 22)))
    draw.polygon(
        [(x - 0.1 * r, y + 0.16 * r), (x + 0.1 * r, y + 0.16 * r), (x, y + 0.27 * r)],
        fill=(206, 110, 116),
    )
    _mouth(draw, (x, y + 0.42 * r), r, light.mood, (52, 34, 38))


def _mouth(
    draw: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    r: float,
    mood: int,
    colour: tuple[int, int, int],
) -> None:
    x, y = centre
    width = max(6, int(r / 18))
    if mood == 0:
        draw.line(
            (x - 0.24 * r, y + 0.06 * r, x + 0.24 * r, y + 0.06 * r), fill=colour, width=width
        )
        return
    top = y - 0.2 * r if mood > 0 else y
    box = (x - 0.32 * r, top, x + 0.32 * r, top + 0.4 * r)
    draw.arc(box, *((15, 165) if mood > 0 else (195, 345)), fill=colour, width=width)


def _screen_face(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], s: float, light: Light
) -> None:
    x, y = centre
    colour = light.pick((110, 140, 255), (250, 214, 110), (110, 250, 170))
    for side in (-1, 1):
        ex, ey = x + side * 0.38 * s, y - 0.28 * s
        box = (ex - 0.16 * s, ey - 0.16 * s, ex + 0.16 * s, ey + 0.16 * s)
        if light.mood > 0:
            draw.arc(box, 180, 360, fill=colour, width=int(s * 0.09))
        else:
            draw.rectangle(
                (box[0], ey - light.pick(0.05, 0.13, 0) * s, box[2], ey + 0.13 * s), fill=colour
            )
    _mouth(draw, (x, y + 0.22 * s), s * 1.1, light.mood, colour)


def _laptop(
    rng: np.random.Generator, image: Image.Image, place: tuple[float, float], s: float, light: Light
) -> None:
    x, y = place
    draw = ImageDraw.Draw(image)
    base = [
        (x - 1.05 * s, y - 0.1 * s),
        (x + 1.05 * s, y - 0.1 * s),
        (x + 1.3 * s, y + 0.3 * s),
        (x - 1.3 * s, y + 0.3 * s),
    ]
    draw.polygon(base, fill=(168, 172, 180))
    keys = [
        (x - 0.9 * s, y - 0.04 * s),
        (x + 0.9 * s, y - 0.04 * s),
        (x + 1.0 * s, y + 0.14 * s),
        (x - 1.0 * s, y + 0.14 * s),
    ]
    draw.polygon(keys, fill=(62, 64, 72))
    draw.rounded_rectangle(
        (x - 1.05 * s, y - 1.45 * s, x + 1.05 * s, y - 0.08 * s), s * 0.06, fill=(52, 54, 60)
    )
    screen = light.pick((46, 66, 150), (196, 204, 210), (120, 196, 240))
    inner = (x - 0.96 * s, y - 1.36 * s, x + 0.96 * s, y - 0.18 * s)
    draw.rectangle(inner, fill=screen)
    bars = rng.uniform(0.1, 0.9, 6)
    for index, tall in enumerate(np.sort(bars) if light.mood > 0 else -np.sort(-bars)):
        left = x - 0.8 * s + index * 0.27 * s
        top = y - 0.28 * s - float(tall) * 0.9 * s
        draw.rectangle(
            (left, top, left + 0.18 * s, y - 0.28 * s), fill=mix(screen, (255, 255, 255), 0.6)
        )


def _mug(
    rng: np.random.Generator, image: Image.Image, place: tuple[float, float], s: float
) -> Image.Image:
    x, y = place
    image = shadow(image, (x - 1.1 * s, y - 0.1 * s, x + 1.4 * s, y + 0.4 * s))
    colour = _PAINTS[int(rng.integers(len(_PAINTS)))]
    draw = ImageDraw.Draw(image)
    draw.arc(
        (x + 0.4 * s, y - 1.3 * s, x + 1.2 * s, y - 0.4 * s),
        -90,
        90,
        fill=mix(colour, (0, 0, 0), 0.2),
        width=int(0.16 * s),
    )
    draw.rounded_rectangle(
        (x - 0.7 * s, y - 1.6 * s, x + 0.7 * s, y + 0.12 * s),
        0.2 * s,
        fill=mix(colour, (255, 255, 255), 0.05),
    )
    draw.rectangle(
        (x - 0.55 * s, y - 1.45 * s, x - 0.4 * s, y), fill=mix(colour, (255, 255, 255), 0.4)
    )
    draw.ellipse((x - 0.7 * s, y - 1.75 * s, x + 0.7 * s, y - 1.42 * s), fill=(64, 38, 26))
    steam = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(steam)
    for offset in (-0.3, 0.0, 0.3):
        rise = np.linspace(0, 1.5 * s, 24)
        sway = x + offset * s + 0.16 * s * np.sin(rise / s * 5 + offset * 8)
        path = list(zip(sway.tolist(), (y - 1.8 * s - rise).tolist(), strict=True))
        pen.line(path, fill=150, width=int(0.14 * s))
    white = Image.new("RGB", image.size, (250, 250, 250))
    return Image.composite(white, image, steam.filter(ImageFilter.GaussianBlur(0.12 * s)))


def _lamp(image: Image.Image, place: tuple[float, float], s: float, light: Light) -> Image.Image:
    x, y = place
    draw = ImageDraw.Draw(image)
    metal = (60, 60, 68)
    draw.ellipse((x - 0.45 * s, y - 0.06 * s, x + 0.45 * s, y + 0.14 * s), fill=metal)
    draw.line(
        (x, y, x - 0.1 * s, y - 0.9 * s, x + 0.3 * s, y - 1.6 * s), fill=metal, width=int(0.09 * s)
    )
    shade = [
        (x + 0.1 * s, y - 1.75 * s),
        (x + 0.5 * s, y - 1.75 * s),
        (x + 0.8 * s, y - 1.3 * s),
        (x - 0.1 * s, y - 1.3 * s),
    ]
    draw.polygon(shade, fill=light.pick((92, 84, 84), (170, 120, 70), (226, 96, 70)))
    if light.mood < 0:
        return image
    beam = Image.new("L", image.size, 0)
    cone = [
        (x - 0.05 * s, y - 1.3 * s),
        (x + 0.75 * s, y - 1.3 * s),
        (x + 1.3 * s, y),
        (x - 0.5 * s, y),
    ]
    ImageDraw.Draw(beam).polygon(cone, fill=70)
    warm = Image.new("RGB", image.size, (255, 236, 170))
    return Image.composite(warm, image, beam.filter(ImageFilter.GaussianBlur(0.15 * s)))
