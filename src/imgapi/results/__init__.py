"""Pictures that go out: kept results and converted files."""
