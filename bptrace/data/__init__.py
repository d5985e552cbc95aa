"""Data files: CSV, npz, PNG and the bundled datasets, read, split and scaled."""
