"""Entry point of ``python -m colorbench``, equal to ``colorbench``."""

from colorbench.cli import main

if __name__ == "__main__":
    main()
