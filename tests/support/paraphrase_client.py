"""A process that paraphrases: ``python paraphrase_client.py '<JSON of the configuration>' COUNT``.

It prints the outcomes as JSON, or ``stopped: …`` when the run was stopped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.paraphrase_stage import ask, captions, opened, outcomes

from affectflow.pipeline.errors import AffectflowError
from affectflow.pipeline.stages.paraphrase import Config


def main() -> None:
    stage = opened(Config.model_validate_json(sys.argv[1]))
    texts = captions(int(sys.argv[2]))
    try:
        found = [
            value
            for start in range(0, len(texts), 16)
            for value in ask(stage, texts[start : start + 16])
        ]
        sys.stdout.write(json.dumps(outcomes(found)))
    except AffectflowError as error:
        sys.stdout.write(f"stopped: {error}")


if __name__ == "__main__":
    main()
