"""Regions from the cascade X152, run by an installed detectron2: same weights, same schema.

For comparison with `detectron2_zoo`, which needs no detectron2. Its network and suppression are
used; images are prepared and files are read by us, so that nothing unpickles freely. detectron2 is
installed from its sources, see its documentation. Written from its interface at commit 02b5c4e and
tested with a stand-in of that interface only, never with detectron2 itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, MissingDependency
from .._device import pick_device, seeded_module
from . import detectron2_zoo_backend as zoo
from ._x152 import versions, weights_identity, weights_path
from .backends import refuse
from .checkpoints import load_zoo_file

if TYPE_CHECKING:
    import torch

    from affectflow.models.vision.rcnn.cascade import Detections

    from . import Config

DEFAULTS = zoo.DEFAULTS
CONFIG_FILE = "Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv.yaml"


class Backend(zoo.Backend):
    """The published configuration in detectron2, walked stage by stage."""

    ROUTE = "detectron2"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.architecture != DEFAULTS["architecture"]:
            raise ConfigError(f"the backend detectron2 has only {DEFAULTS['architecture']}")
        refuse(config, "masks")
        if not config.post_relu:
            hint = "use --set regions.backend=detectron2_zoo"
            raise ConfigError("detectron2 gives vectors after their ReLU only", hint)

    def identity(self) -> dict[str, Any]:
        """Return the same facts, and the version of detectron2."""
        _require_detectron2()
        return {**super().identity(), "libraries": versions("detectron2")}

    def open(self) -> None:
        """Build the network by detectron2 and load its weights."""
        _require_detectron2()
        config = self.config
        weights_identity(config, zoo.KIND)
        self._device = pick_device(config.device)
        network: Any = seeded_module(config.seed, self._build)
        if not config.allow_untrained:
            load_zoo_file(network, weights_path(config))
        self._network = network.eval().to(self._device)

    def _build(self) -> Any:
        from detectron2 import model_zoo
        from detectron2.config import get_cfg
        from detectron2.modeling import build_model

        settings = get_cfg()
        settings.merge_from_file(model_zoo.get_config_file(CONFIG_FILE))
        settings.MODEL.DEVICE = "cpu"
        before = self.config.proposals_before or self.config.proposals
        settings.MODEL.RPN.PRE_NMS_TOPK_TEST = before
        settings.MODEL.RPN.POST_NMS_TOPK_TEST = self.config.proposals
        return build_model(settings)

    def detect(self, images: torch.Tensor, sizes: list[tuple[int, int]]) -> list[Detections]:
        """Return the detections of a batch ``(B, 3, H, W)``, with vectors."""
        from detectron2.structures import ImageList

        network: Any = self._network
        features = network.backbone(images)
        proposals, _ = network.proposal_generator(ImageList(images, sizes), features, None)
        heads = network.roi_heads
        # The attribute's name moved between versions.
        names = getattr(heads, "box_in_features", None) or heads.in_features
        maps = [features[name] for name in names]
        vectors, boxes, scores = _walk(heads, maps, proposals, sizes)
        return self._detections(heads, maps, vectors, boxes, scores, sizes)

    def _detections(
        self,
        heads: Any,
        maps: Sequence[torch.Tensor],
        vectors: Sequence[torch.Tensor],
        boxes: Sequence[torch.Tensor],
        scores: Sequence[torch.Tensor],
        sizes: list[tuple[int, int]],
    ) -> list[Detections]:
        from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference

        from affectflow.models.vision.rcnn.cascade import Detections

        config = self.config
        found, kept = fast_rcnn_inference(
            boxes, scores, sizes, config.confidence_threshold, config.nms_iou, config.num_boxes
        )
        if config.pooled_at == "final":
            counts = [len(one) for one in found]
            pooled = heads.box_pooler(maps, [one.pred_boxes for one in found])
            chosen = list(heads.box_head[-1](pooled).split(counts))
        else:
            chosen = [part[rows] for part, rows in zip(vectors, kept, strict=True)]
        return [
            Detections(one.pred_boxes.tensor, one.scores, one.pred_classes, rows, vector)
            for one, rows, vector in zip(found, kept, chosen, strict=True)
        ]


def _require_detectron2() -> None:
    if importlib.util.find_spec("detectron2") is None:
        missing = MissingDependency("detectron2", "regions")
        # No extra of ours brings it: there are no wheels.
        missing.hint = (
            "build it from its sources, or use --set regions.backend=detectron2_zoo, which gives "
            "the same regions without it"
        )
        raise missing


def _walk(
    heads: Any,
    maps: Sequence[torch.Tensor],
    proposals: Sequence[Any],
    sizes: Sequence[tuple[int, int]],
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """Run the box heads one after the other.

    Returns:
        Per image the last head's vectors ``(P, D)``, the final boxes ``(P, 4)`` and the mean
        probabilities ``(P, K + 1)``.
    """
    from detectron2.structures import Boxes, Instances

    given = list(proposals)
    boxes: Sequence[torch.Tensor] = ()
    probabilities = []
    stages = list(zip(heads.box_head, heads.box_predictor, strict=True))
    for number, (head, predictor) in enumerate(stages):
        if number > 0:
            clipped = [Boxes(one.detach()) for one in boxes]
            for one, size in zip(clipped, sizes, strict=True):
                one.clip(size)
            given = [
                Instances(size, proposal_boxes=one)
                for one, size in zip(clipped, sizes, strict=True)
            ]
        vectors = head(heads.box_pooler(maps, [one.proposal_boxes for one in given]))
        said = predictor(vectors)
        boxes = predictor.predict_boxes(said, given)
        probabilities.append(predictor.predict_probs(said, given))
    mean = [sum(parts) / len(stages) for parts in zip(*probabilities, strict=True)]
    return list(vectors.split([len(one) for one in given])), list(boxes), mean
