"""Pictures that are kept for callers: results, uploads, converted files."""
