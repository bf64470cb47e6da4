"""Datasets on disk and in Python: their tables, their manifest, and `VideoSSRDataset`."""
