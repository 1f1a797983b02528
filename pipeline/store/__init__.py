"""The feature store: content-addressed Parquet, commit records, quarantine.

```
<store>/samples/<dataset>@<digest>/part-00000.parquet   one row per sample
<store>/features/<dataset>/<feature>/<fingerprint>/     key · status · reason · n · value
<store>/tables/<dataset>/<node>/<fingerprint>/          key · status · reason · the stage's columns
    _spec.json                everything that affects the values
    part-00000.parquet
    part-00000.commit.json    written last: counts, bytes, digests, seconds, versions
<store>/quarantine/<dataset>/<node>/<fingerprint>/part-00000.parquet   key, class, message, hint
<store>/runs/<run>/           resolved configuration, plan, events, report.html
<store>/llm/                  one ledger row per request
<store>/cache/                what can be deleted at any time
```

A samples table is complete when its `_samples.json` is there. Quarantine files lie beside the
fingerprint they belong to, not under a run: a run that finds a shard cached finds its failed rows.
"""
