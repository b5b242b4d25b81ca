"""Pictures that come in: callers' URLs, data URLs, and whether an address may be reached."""
