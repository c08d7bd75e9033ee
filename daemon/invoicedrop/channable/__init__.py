"""The Channable API: its endpoints, its rate limit, every failure as one of our errors."""
