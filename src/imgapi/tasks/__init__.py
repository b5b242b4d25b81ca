"""The life of an edit: run it, pace it, see it end."""
