"""The answer types: how one kind of answer is read, scored, summed up, guessed, checked and drawn."""
