"""The engine: a plan is a grid of cells (node × shard); executing it is running what is missing.

```
Dag (dags/extract.py) ─► Plan: fingerprints, cells with states ─► tasks ─► executor ─► receipts
```

The listing of commit files is the whole state: there is no database, and a run can be killed and
started again at any moment.
"""
