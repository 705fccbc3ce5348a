"""Any upscaler on any benchmark set, by a named protocol."""
