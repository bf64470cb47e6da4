"""Public benchmarks by the protocol of the paper: their files as published, read into questions, asked and scored."""
