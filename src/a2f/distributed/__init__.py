"""Batches on many machines: the driver keeps the journal, and workers ask it before they write a result.

`driver` distributes items and keeps the journal, `bench` processes them in a worker, and `cluster` uses Ray.
"""
