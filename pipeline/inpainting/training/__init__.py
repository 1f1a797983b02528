"""Training DeepFillv2 on a folder of pictures.

```
masks.py       holes to learn from: boxes with strokes, bands like captions
crops.py       batches of crops and masks, a pure function of seed and step
state.py       what a training consists of, saved and resumed
validation.py  held-out crops: distances, and the same for simple fillings
loop.py        the loop
```
"""
