"""A virtual energy system for every application that shares a computing site."""

__version__ = "0.1.0"
