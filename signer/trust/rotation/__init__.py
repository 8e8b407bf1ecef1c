"""Root rotation, step by step: what is written down, what is waited for, what is done."""
