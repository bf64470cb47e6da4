"""The decoded frames of many videos: indexing, frame packs, near-duplicates, merging and splitting."""
