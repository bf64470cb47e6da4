"""What people look at: checks of a dataset, and galleries of its samples."""
