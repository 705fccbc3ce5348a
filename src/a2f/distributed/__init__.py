"""Batches on many machines: one journal with the driver, and workers that enlarge and ask it before they write.

`driver` gives out items and keeps the journal, `bench` does them in a worker, `cluster` is what Ray has to do with it.
"""
