"""Model weights: where they come from, where they lie, whether they are the right bytes.

```
catalogue.py    data_manifests/weights.yaml ─► Weights
folder.py       where files lie here; `locate` names the command that gets what is missing
digests.py      sha256 of a file, computed once per version of the file
download.py     one file over HTTP: resumed, retried, checked before it is used
inventory.py    fetch · import · verify · list
checkpoint.py   state dicts, read without running code from the file
```

Nothing here is called while features are extracted except `locate` and `identity_of`: weights are
never downloaded by a run.
"""

from .catalogue import Weights, WeightsFile, entry, read_catalogue
from .digests import digest_of
from .folder import identity_of, identity_of_folder, locate, locate_file, weights_folder
from .inventory import BAD, FileState, Status, fetch, import_file, on_disk, statuses, verify

__all__ = [
    "BAD",
    "FileState",
    "Status",
    "Weights",
    "WeightsFile",
    "digest_of",
    "entry",
    "fetch",
    "identity_of",
    "identity_of_folder",
    "import_file",
    "locate",
    "locate_file",
    "on_disk",
    "read_catalogue",
    "statuses",
    "verify",
    "weights_folder",
]
