"""One suite that every backend must pass. A new backend brings a far side: a class like those in far_sides.py."""
