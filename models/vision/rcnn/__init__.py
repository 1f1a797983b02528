"""Two region networks that are both called "Mask R-CNN X152", on torchvision's operators.

```
boxes.py         box arithmetic: anchors, decoding, clipping, pyramid levels
resnext.py       the trunk: ResNeXt with frozen batch norm, plain or deformable 3x3 convolutions
pyramid.py       trunk and feature pyramid, p2 to p6
pooling.py       boxes to fixed grids, each from the pyramid level of its size
proposals.py     the proposal head and the two rules by which proposals are chosen
heads.py         box heads, predictors and mask head
masks.py         mask probabilities of a box into the image
cascade.py       the cascade with masks of the detectron2 zoo: COCO, vectors of 1024
faster.py        the detector of vqa-maskrcnn-benchmark: Visual Genome, vectors of 2048
detectron2_layout.py, benchmark_layout.py, conversion.py     published names to ours
```

The parameters carry the names of the zoo file; the other layout is renamed.
"""
