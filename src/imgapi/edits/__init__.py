"""The six edits: what each asks upstream, what it answers the caller."""
