"""Runs that take too long for the book or its tests; each leaves a record."""
