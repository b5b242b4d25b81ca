"""The public words: request and response models as documented."""
