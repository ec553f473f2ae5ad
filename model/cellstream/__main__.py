"""``python -m cellstream`` is the command ``cellstream``."""

from cellstream.cli import main

if __name__ == "__main__":
    main()
