"""Building datasets: from a corpus and a recipe to samples on disk, and merging and splitting what was built."""
