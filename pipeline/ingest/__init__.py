"""From a dataset's files to the samples table: scan media, find groups, make splits, write.

```
reader ─► SourceRow ─► scan (sha256, pHash, size; cached by stat) ─► groups ─► splits ─► samples/
```
"""
