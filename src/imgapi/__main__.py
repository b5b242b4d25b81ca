"""Lets `python -m imgapi` do what `imgapi` does."""

from imgapi.cli import main

if __name__ == "__main__":
    main()
