"""One provider, and one call of it: requests, retries and the response."""
