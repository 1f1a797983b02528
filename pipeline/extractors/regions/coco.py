"""Names of the COCO classes, for detectors that number the 80 and those that number 90 with gaps.

Both count from 0 and leave the background out.
"""

from __future__ import annotations

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant,
bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock,
vase, scissors, teddy bear, hair drier, toothbrush
"""

CLASSES: tuple[str, ...] = tuple(name.strip() for name in _NAMES.split(","))

# Numbers of the data set, from 1, that no picture uses.
_UNUSED = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


def _with_gaps() -> tuple[str, ...]:
    names = iter(CLASSES)
    return tuple("N/A" if number in _UNUSED else next(names) for number in range(1, 91))


CATEGORIES: tuple[str, ...] = _with_gaps()
