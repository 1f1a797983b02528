"""Training DeepFillv2 on a folder of pictures.

```
masks.py       holes to learn from: boxes with strokes, bands like captions
crops.py       batches of crops and masks, a pure function of seed and step
state.py       what a training consists of, saved and resumed
validation.py  held-out crops: distances, and the same for simple fillings
loop.py        the loop
```

A loop of its own: two networks take turns, each with an optimiser and a loss that holds the other
still, over crops instead of samples, and a third is their average. The loop of ``training/`` has
one model, one optimiser and labelled samples by key; it would have to learn all of that for one
user.
"""
