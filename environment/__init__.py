"""Builds the virtual environment that `make` uses; runs on a bare Python 3.10 to 3.14 without packages."""
