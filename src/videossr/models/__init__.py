"""What can answer a question: chance, a local model, a server. Each is one file and one kind of `--model SPEC`."""
