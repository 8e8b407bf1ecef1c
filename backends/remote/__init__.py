"""What backends with a far side share: the CAs they have seen sign, and files with roots that the far side lacks."""
