"""The pure middle: no I/O, no event loop, no clock but the one given, no logging."""
