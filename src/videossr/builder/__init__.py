"""Build datasets: check videos, allocate them to the categories of a recipe, and generate samples."""
