"""``python -m colorbench`` is ``colorbench``."""

from colorbench.cli import main

if __name__ == "__main__":
    main()
