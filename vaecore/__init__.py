"""vaecore: variational autoencoders, small and readable. The code of the book, chapter by chapter."""
