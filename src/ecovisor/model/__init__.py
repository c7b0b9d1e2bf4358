"""Vocabulary: units, ticks, series, apps and errors. Knows no clock, socket or file; everything imports it, it imports nothing of ours."""
