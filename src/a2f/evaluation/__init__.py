"""Measure any upscaler on any benchmark set with a named protocol."""
