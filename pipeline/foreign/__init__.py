"""Reading features that others computed: one module per published layout, read only.

```
mmsa.py         MMSA pickles: text_bert, given lengths, one label per modality for SIMS
mult.py         the original MulT pickles: regression, or IEMOCAP's four emotions
multibench.py   MultiBench pickles: padded at the front, humour and sarcasm labels
csd.py          computational sequences (HDF5): streams averaged over words, cut at label intervals
declare_lab.py  a folder of tables with one vector per utterance
```

The module path is the name. A format is a module with ``VERSION``, ``FOLDER`` (several files or a
folder make one dataset; ``SUFFIXES`` are theirs) and ``read(files, options) -> Parsed``;
`pipeline.ingest.foreign` writes what it returns into a store.
Modules whose name begins with an underscore are what several formats share.

What every format does the same:

- Pickles are read by `pipeline.unpickle` only: data, never code.
- A value that is NaN or infinite becomes 0; how many there were is recorded and printed.
- Padding is not stored. Its side is found from the data; a length is the given one, else what is
  left without the zero steps on that side. A sequence of zeros only is ``absent``.
- Splits are the file's. A key is the file's own id; one that comes back gets ``#2``, ``#3`` and the
  flag ``duplicate_id``.
"""
