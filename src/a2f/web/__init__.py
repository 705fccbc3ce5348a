"""`a2f serve`: the page and the HTTP service (extra `web`)."""
