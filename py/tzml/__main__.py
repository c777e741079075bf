"""`python -m tzml`."""

from tzml.cli import main

if __name__ == "__main__":
    main()
