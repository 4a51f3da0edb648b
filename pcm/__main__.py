"""``python -m pcm``: the same as the command ``pcm``.

>>> main.__module__
'pcm.cli'
"""

from pcm.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
